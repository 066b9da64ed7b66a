// Dialogs that htmx loads into #dialog, and confirmations of destructive forms.
//
// A link with hx-get and hx-target="#dialog" opens one; without script it leads to the same dialog as a page.
// An answer that is empty closes it. data-confirm on a form or a submit button asks before it is sent.

import { raiseToasts } from "./shell.js";

const host = document.getElementById("dialog");
const REACHED = 'a[href], button:not(:disabled), input:not([type=hidden], :disabled), select:not(:disabled), textarea:not(:disabled), summary, [tabindex="0"]';
let opener = null; // a place
let held = null; // a place

const reached = (part) => [...part.querySelectorAll(REACHED)];
const canTake = (element) => element.tabIndex >= 0 && element.checkVisibility();

/** Where an element stands: for each part around it, its number among what can be reached there. */
function placeOf(element) {
  const around = [];
  for (let part = element.parentElement; part && part !== document.body; part = part.parentElement) {
    around.push([part, Math.max(0, reached(part).indexOf(element))]);
  }
  return { element, around };
}

/** Give the focus to what stood at a place, or else to what stands there now. */
function focusAt({ element, around }) {
  if (element.isConnected) element.focus({ preventScroll: true });
  if (document.activeElement === element) return;
  for (const [part, at] of around) {
    const there = part.isConnected ? reached(part) : [];
    const near = there.slice(at).find(canTake) ?? there.slice(0, at).findLast(canTake);
    if (near) return near.focus({ preventScroll: true });
  }
}

function open(dialog) {
  if (!dialog.open) dialog.showModal();
  raiseToasts();
  const wrong = dialog.querySelector('[aria-invalid="true"]');
  const first = wrong ?? dialog.querySelector("[autofocus], .dialog-body :is(input:not([type=hidden]), select, textarea)");
  (first ?? dialog.querySelector(".dialog-foot button"))?.focus();
}

function close(dialog) {
  dialog.close();
}

document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (ctx.target === host && !host.contains(ctx.sourceElement)) opener = placeOf(document.activeElement);
});

// What has the focus may go with an answer: a tag that was removed, the button of a run that was cancelled. It need
// not stand in the target, since an answer may bring other parts along.
document.addEventListener("htmx:before:swap", () => {
  held = host.contains(document.activeElement) ? null : placeOf(document.activeElement);
});

document.addEventListener("htmx:after:swap", (event) => {
  if (held && !held.element.isConnected && document.activeElement === document.body) focusAt(held);
  held = null;
  if (event.detail.ctx.target !== host) return;
  const dialog = host.querySelector("dialog");
  if (dialog) open(dialog);
  else giveBackFocus();
});

document.addEventListener("close", (event) => {
  if (!event.target.matches?.("dialog")) return;
  raiseToasts();
  if (host?.contains(event.target)) host.replaceChildren();
  giveBackFocus();
}, true);

function giveBackFocus() {
  if (opener) focusAt(opener);
  opener = null;
}

// Asking first: <form data-confirm="Archive digits-mlp?" data-confirm-text="…" data-confirm-button="Archive">.

function ask(words) {
  const template = document.getElementById("confirm-template");
  const dialog = template.content.firstElementChild.cloneNode(true);
  dialog.querySelector("h2").textContent = words.confirm;
  dialog.querySelector("p").textContent = words.confirmText ?? "";
  const yes = dialog.querySelector('[value="yes"]');
  yes.textContent = words.confirmButton ?? "Go on";
  yes.classList.toggle("btn-danger", words.confirmKind !== "plain");
  yes.classList.toggle("btn-primary", words.confirmKind === "plain");
  document.body.append(dialog);
  opener = placeOf(document.activeElement);
  dialog.showModal();
  raiseToasts();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const asks = submitter?.dataset.confirm ? submitter : form;
  if (!asks.dataset.confirm || form.dataset.confirmed) {
    delete form.dataset.confirmed;
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  ask(asks.dataset).then((yes) => {
    if (!yes) return;
    form.dataset.confirmed = "1";
    form.requestSubmit(submitter);
  });
}, true);

document.addEventListener("click", (event) => {
  const dialog = event.target.closest?.("dialog");
  if (event.target.closest?.("[data-dialog-close]") && dialog) {
    if (dialog.matches(":modal")) close(dialog);
    else history.back();
  }
  const wanted = event.target.closest?.("[data-dialog-open]")?.dataset.dialogOpen;
  if (wanted) {
    opener = placeOf(document.activeElement);
    open(document.getElementById(wanted));
  }
});

// A click on the scrim closes, unless something was typed.
document.addEventListener("pointerdown", (event) => {
  const dialog = event.target;
  if (!dialog.matches?.("dialog:modal")) return;
  const box = dialog.getBoundingClientRect();
  const outside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
  const typed = [...dialog.querySelectorAll("input:not([type=hidden]), textarea")].some((f) => f.value !== f.defaultValue);
  if (outside && !typed) close(dialog);
});

// Ctrl+Enter sends the form of the dialog, as the last button of its foot does.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const form = event.target.closest?.("dialog form:not([method=dialog])");
  if (form) {
    event.preventDefault();
    form.requestSubmit([...form.querySelectorAll(".dialog-foot button:not([type=button])")].at(-1));
  }
});

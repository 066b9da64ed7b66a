// The submit page as a canvas. The form stays the truth: boxes are drawn from its fields, what is done on the
// canvas is written into them, and what is sent is the same form that a browser without script sends.

import { draw, startCanvas } from "./canvas.js";
import { heard, token } from "./live.js";
import { isSourceRefused, settled, showKept, sourceWords, startSources } from "./sources.js";
import { toast } from "./shell.js";
import { startTags } from "./submit_tags.js";

const narrow = matchMedia("(max-width: 767px)");
const get = (id) => document.getElementById(id);
const form = () => get("submit-form");
const dialog = () => get("run-dialog");
const panels = () => [...document.querySelectorAll("#steps .step")];
const panel = (index) => document.querySelector(`#steps .step[data-step="${index}"]`);
const field = (step, name) => step.querySelector(`[name="steps-${step.dataset.step}-${name}"]`);
const ticked = (step) => [...step.querySelectorAll(".after-list input:checked")].map((box) => box.value);
const number = (text) => (/^\d+$/.test(text) ? Number(text) : null);

let selected = null;

// From fields to boxes ---------------------------------------------------------------------------------

const command = (step) => field(step, "command")?.value.trim() ?? "";
const stem = (path) => path.split("/").at(-1).replace(/\.[^.]+$/, "");

function titleOf(step) {
  return field(step, "name").value.trim() || stem(field(step, "script").value) || command(step) || `step ${panels().indexOf(step) + 1}`;
}

function shown(step) {
  return {
    index: step.dataset.step,
    title: titleOf(step),
    source: sourceWords(step),
    script: command(step) || field(step, "script").value,
    arguments: field(step, "arguments").value,
    target: field(step, "target").value,
    after: ticked(step),
    x: number(field(step, "x").value),
    y: number(field(step, "y").value),
    wrong: isSourceRefused(step) || step.querySelector("p.error:not([hidden], [data-said])") !== null,
  };
}

/** Whether `to` runs after `from`, directly or not. */
function runsAfter(to, from, seen = new Set()) {
  if (to === from) return true;
  if (seen.has(to)) return false;
  seen.add(to);
  return ticked(panel(to)).some((before) => panel(before) && runsAfter(before, from, seen));
}

function showAfter(step) {
  const list = step.querySelector(".after-list");
  const chosen = new Set(ticked(step));
  const others = panels().filter((other) => other !== step);
  const labels = new Map([...list.children].map((label) => [label.firstElementChild.value, label]));
  for (const other of others) {
    const index = other.dataset.step;
    const label = labels.get(index) ?? list.appendChild(afterChoice(step, index));
    labels.delete(index);
    label.lastElementChild.textContent = titleOf(other);
    const circle = !chosen.has(index) && runsAfter(index, step.dataset.step);
    label.firstElementChild.disabled = circle;
    label.title = circle ? `${titleOf(other)} runs after this step already` : "";
  }
  for (const gone of labels.values()) gone.remove();
  step.querySelector("[data-after]").toggleAttribute("data-alone", !others.length);
}

function afterChoice(step, index) {
  const label = Object.assign(document.createElement("label"), { className: "after-one" });
  const box = Object.assign(document.createElement("input"), { type: "checkbox", name: `steps-${step.dataset.step}-after`, value: index });
  label.append(box, document.createElement("span"));
  return label;
}

function showTarget(step) {
  const select = field(step, "target");
  const whole = form().elements.target;
  const words = (select.value ? select : whole).selectedOptions[0]?.dataset.words ?? "";
  const lead = !select.value || select.value === whole.value ? "" : "Not the default. ";
  step.querySelector("[data-target-words]").textContent = words && lead + words;
}

function showSettings(step) {
  step.querySelector("h2").textContent = titleOf(step);
  showKept(step);
  showAfter(step);
  showTarget(step);
}

function show() {
  for (const step of panels()) step.classList.toggle("is-selected", step.dataset.step === selected);
  if (selected !== null) showSettings(panel(selected));
  form().querySelector(".submit-body").classList.toggle("has-selection", selected !== null);
  const steps = panels().map(shown);
  const edges = steps.reduce((sum, step) => sum + step.after.length, 0);
  draw(steps, selected);
  const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  get("canvas-words").textContent = `${count(steps.length, "step")}, ${count(edges, "edge")}.`;
}

// What people do ---------------------------------------------------------------------------------------

function select(index, focus = false) {
  selected = index;
  show();
  if (index !== null && (focus || narrow.matches)) field(panel(index), "name").focus();
}

function closeStep() {
  const was = selected;
  select(null);
  document.querySelector(`.node[data-step="${was}"] .node-open`)?.focus();
}

const nextIndex = () => String(1 + Math.max(-1, ...panels().map((step) => Number(step.dataset.step))));

/** Write another number into every attribute of a step that names it. */
function renumber(step, from, to) {
  const wanted = new RegExp(`(steps?-)${from}(?=\\D|$)|^${from}$|(:)${from}$`, "g");
  for (const element of [step, ...step.querySelectorAll("*")]) {
    for (const attribute of element.attributes) {
      if (attribute.name === "class" || (attribute.name === "value" && element.localName === "input")) continue;
      attribute.value = attribute.value.replace(wanted, (_, before = "", colon = "") => `${before}${colon}${to}`);
    }
  }
}

function addStep() {
  const step = get("blank-step").content.firstElementChild.cloneNode(true);
  const index = nextIndex();
  renumber(step, step.dataset.step, index);
  step.querySelector(".after-list").replaceChildren();
  document.querySelector("#steps .steps-foot").before(step);
  select(index, true);
}

function duplicate(step) {
  const copy = step.cloneNode(true);
  const index = nextIndex();
  const chosen = [...step.querySelectorAll("select")].map((one) => one.value);
  renumber(copy, step.dataset.step, index);
  copy.querySelectorAll("select").forEach((one, at) => { one.value = chosen[at]; });
  field(copy, "name").value = freeName(titleOf(step));
  field(copy, "x").value = field(copy, "y").value = "";
  step.after(copy);
  copy.querySelectorAll('.source input[type="radio"]').forEach((radio, at) => {
    radio.checked = step.querySelectorAll('.source input[type="radio"]')[at].checked;
  });
  select(index, true);
}

function freeName(name) {
  const taken = new Set(panels().map(titleOf));
  const base = name.replace(/-\d+$/, "");
  for (let at = 2; ; at += 1) if (!taken.has(`${base}-${at}`)) return `${base}-${at}`;
}

/** Say that there is something to lose which no field shows as changed. */
function touch() {
  form().dataset.touched = "";
}

function removeStep(index) {
  touch();
  const title = titleOf(panel(index));
  panel(index).remove();
  document.querySelectorAll(`#steps .after-list input[value="${index}"]`).forEach((box) => box.parentElement.remove());
  if (!panels().length) return addStep();
  select(narrow.matches ? null : panels()[0].dataset.step);
  document.querySelector(".node .node-open").focus();
  toast({ text: `${title} is removed from the form` });
}

function connect(from, to) {
  showAfter(panel(to));
  const box = panel(to).querySelector(`.after-list input[value="${from}"]`);
  if (box.disabled) {
    toast({ text: `${titleOf(panel(from))} runs after ${titleOf(panel(to))} already: they would wait for each other.`, kind: "warning" });
  } else {
    box.checked = true;
    select(to);
  }
}

function disconnect(from, to) {
  touch();
  const box = panel(to).querySelector(`.after-list input[value="${from}"]`);
  box.checked = false;
  forgive(box);
  select(to);
}

function move(index, x, y) {
  touch();
  place(index, x, y);
}

function place(index, x, y) {
  field(panel(index), "x").value = x;
  field(panel(index), "y").value = y;
}

function addVariable(step) {
  const rows = step.querySelectorAll(".variable");
  const row = rows[0].cloneNode(true);
  row.querySelectorAll("input").forEach((input) => { input.value = ""; input.removeAttribute("aria-invalid"); });
  rows[rows.length - 1].after(row);
  row.querySelector("input").focus();
}

function removeVariable(row) {
  touch();
  const rows = row.parentElement.querySelectorAll(".variable");
  forgive(row);
  const near = row.previousElementSibling?.querySelector("input") ?? row.nextElementSibling?.querySelector("input");
  if (rows.length > 1) row.remove();
  else row.querySelectorAll("input").forEach((input) => { input.value = ""; });
  show();
  near?.focus();
}

// Run: the steps are checked, then the dialog asks what the run is for. What is sent is sent from here, so that no
// refusal becomes a page of its own, to which nobody could go back, and nothing typed is lost with a session.

const NOTHING = { check: "Nothing was submitted", run: "Nothing was submitted", "save-draft": "Nothing was saved" };
// What is sent and not answered may have arrived.
const UNKNOWN = {
  check: "Nothing was submitted; everything typed is still here.",
  run: "It is not known whether this was submitted. Running it again as it is never starts it twice, and a changed form says so if the first has begun.",
  "save-draft": "It is not known whether this was saved; everything typed is still here.",
};
let sending = false;

async function send(action) {
  if (sending) return;
  sending = true;
  const button = form().querySelector({ check: "[data-run]", run: "[data-run-now]", "save-draft": "[value=save-draft]" }[action]);
  button.setAttribute("aria-busy", "true");
  try {
    await settled();
    const refused = action !== "save-draft" && panels().find(isSourceRefused);
    if (refused) showRefused(refused);
    else if (await post(action)) return;
  } catch {
    toast({ text: `The server could not be reached. ${UNKNOWN[action]}`, kind: "error" });
  }
  rest();
}

/** Let things be sent again. */
function rest() {
  sending = false;
  form().querySelectorAll("button[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
}

function showRefused(step) {
  select(step.dataset.step);
  step.querySelector('.source input[type="radio"]:checked').focus();
  toast({ text: "Nothing was submitted: choose another source for this step.", kind: "error" });
}

/** Whether the browser goes to another page now. */
async function post(action) {
  const data = new FormData(form());
  data.set("action", action);
  if (token()) data.set("csrfmiddlewaretoken", token());
  const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
  const answer = await fetch(form().getAttribute("action"), { method: "POST", body: data, headers });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const onward = answer.headers.get("HX-Redirect");
  const stays = heard(answer.status);
  if (answer.status === 401) return !stays;
  if (onward) {
    form().autocomplete = "off"; // Back leads to an empty form, not to the half that a browser fills in again
    location.assign(onward);
  } else if (answer.ok) openDialog([...page.body.childNodes]);
  else if (answer.status === 422) takeRefused(page, NOTHING[action]);
  else toast({ text: page.querySelector("[data-error]")?.textContent.trim() || unexplained(answer.status, action), kind: "error" });
  return Boolean(onward);
}

const unexplained = (status, action) => `The server answered ${status}. ${status < 500 ? `${NOTHING[action]}.` : UNKNOWN[action]}`;

function takeRefused(page, nothing) {
  form().replaceWith(document.adoptNode(page.getElementById("submit-form")));
  begin();
  if (document.activeElement === document.body) focusError();
  const wrong = form().querySelectorAll('p.error').length;
  toast({ text: `${nothing}: ${wrong === 1 ? "one thing is" : `${wrong} things are`} to put right.`, kind: "error" });
}

/** What is wrong and of no one field gets the focus with all that stands around it. */
function focusError() {
  const around = [...form().querySelectorAll("p.error")].find((error) => error.checkVisibility())?.parentElement;
  around?.setAttribute("tabindex", "-1");
  (around ?? form().querySelector("[data-run]")).focus();
}

/** Open it with this summary, or with the one that came with the form. */
function openDialog(summary) {
  const several = panels().length > 1;
  get("run-dialog-heading").textContent = several ? "Run this pipeline" : "Run this script";
  if (summary) get("run-summary").replaceChildren(...summary);
  if (!dialog().open) dialog().showModal();
  const wrong = dialog().querySelector('[aria-invalid="true"]');
  const experiment = [...dialog().querySelectorAll(".experiment-part :is(select, input)")].find((one) => one.checkVisibility());
  (wrong ?? experiment).focus();
}

/** Begin with the form that is on the page now: on load, and after a refusal. */
function begin() {
  form().classList.add("is-canvas");
  get("canvas-box").hidden = false;
  dialog().removeAttribute("open");
  startTags();
  const wrong = panels().find((step) => "wrong" in step.dataset);
  const keep = selected !== null && panel(selected) ? selected : panels()[0]?.dataset.step ?? null;
  selected = wrong?.dataset.step ?? (narrow.matches && !wrong ? null : keep);
  show();
  if ("openDialog" in form().dataset) openDialog();
  else (wrong?.querySelector('[aria-invalid="true"]') ?? form().querySelector('[aria-invalid="true"]'))?.focus();
}

/** What is being put right is red no more; whether it is right now, the next Run says. */
function forgive(target) {
  const part = target.closest?.(".field, .submit-target");
  const errors = part?.querySelectorAll("p.error:not([data-source-error], [hidden])") ?? [];
  if (errors.length !== 1) return;
  errors[0].hidden = true;
  part.querySelectorAll('[aria-invalid="true"]').forEach((wrong) => wrong.removeAttribute("aria-invalid"));
}

/** Steps without a target are put right by a default, and a default that is missing by a target of each step. */
function forgiveTargets(changed) {
  const whole = form().elements.target;
  const without = panels().map((step) => field(step, "target")).filter((select) => !select.value);
  if (changed === whole && whole.value) without.forEach(forgive);
  else if (!whole.value && !without.length) forgive(whole);
}

/** What a source that was taken has filled in is put right as what people type. */
function takeSource(step) {
  touch();
  const script = field(step, "script");
  if (script.value && sourceWords(step)) forgive(script);
  show();
}

// Listeners ------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest?.(selector);
  const step = at("#steps .step");
  const action = at("button[name=action]")?.value ?? "";
  if (at("[data-add-step]")) addStep();
  else if (at("[data-close-step]")) closeStep();
  else if (at("[data-remove-variable]")) removeVariable(at(".variable"));
  else if (step && action.startsWith("duplicate-step")) { event.preventDefault(); duplicate(step); }
  else if (step && action.startsWith("delete-step")) { event.preventDefault(); removeStep(step.dataset.step); }
  else if (step && action.startsWith("add-variable")) { event.preventDefault(); addVariable(step); }
});

document.addEventListener("submit", (event) => {
  if (event.target !== form() || event.defaultPrevented) return;
  const action = event.submitter?.value ?? "run";
  if (action !== "run" && action !== "save-draft") return;
  event.preventDefault();
  send(action === "run" && !dialog().open ? "check" : action);
}, true);

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (dialog().open) form().requestSubmit(dialog().querySelector("[data-run-now]"));
    else send("check");
  } else if (event.key === "Escape" && selected !== null && event.target.closest?.(".step") && !dialog().open) {
    closeStep();
  }
});

for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    if (form().contains(event.target)) forgive(event.target);
    if (event.target.name?.endsWith("target")) forgiveTargets(event.target);
    if (event.target.closest?.("#steps .step, .submit-target")) show();
  });
}

// A form that comes back from the browser's memory is a new one: running it again is meant.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  rest();
  const letters = crypto.getRandomValues(new Uint8Array(16));
  form().elements.submission_key.value = [...letters].map((n) => n.toString(16).padStart(2, "0")).join("");
});

narrow.addEventListener("change", show);
startCanvas({ select, place, move, connect, disconnect, remove: removeStep });
startSources(takeSource);
begin();

// Rows: the keys that move among them, and the selection that lights the toolbar.

import "./tag-lists.js";

const typing = (element) => element.matches?.('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable="true"]');
const rows = () => [...document.querySelectorAll("main tr[data-row]")].filter((row) => row.offsetParent);
const current = () => document.querySelector("main tr[data-current]");
const box = (row) => row?.querySelector("input.box[name]");

function makeCurrent(row) {
  current()?.removeAttribute("data-current");
  if (!row) return;
  row.setAttribute("data-current", "");
  row.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const all = rows();
  const here = all.indexOf(current());
  makeCurrent(all[Math.max(0, Math.min(all.length - 1, here < 0 ? 0 : here + step))]);
}

// Selection. A <form data-selection> holds toolbar and table; a row says what it can in data-can="cancel tag".

let anchor = null;

const boxes = (form) => [...form.querySelectorAll("tr[data-row] input.box[name]")];

function select(input, on, range) {
  const form = input.form;
  const all = boxes(form);
  const [from, to] = [all.indexOf(anchor), all.indexOf(input)].sort((a, b) => a - b);
  const touched = range && anchor?.isConnected && from >= 0 ? all.slice(from, to + 1) : [input];
  for (const each of touched) each.checked = on;
  anchor = input;
  matchAll(form, false);
  light(form);
}

function matchAll(form, on) {
  const all = form.querySelector('input[name="matching"]');
  if (all) all.checked = on;
}

function clear(form) {
  for (const each of boxes(form)) each.checked = false;
  matchAll(form, false);
  light(form);
}

function light(form) {
  const bar = form.querySelector("[data-toolbar]");
  const all = boxes(form);
  const chosen = all.filter((each) => each.checked);
  if (!chosen.length) matchAll(form, false);
  const everything = form.querySelector('input[name="matching"]')?.checked ?? false;
  const head = form.querySelector("[data-select-all]");
  if (head) {
    head.checked = all.length > 0 && chosen.length === all.length;
    head.indeterminate = chosen.length > 0 && chosen.length < all.length;
  }
  if (!bar) return;
  bar.classList.toggle("is-lit", chosen.length > 0);
  const total = Number(bar.querySelector("[data-select-matching]")?.dataset.selectMatching ?? 0);
  const count = bar.querySelector("[data-selection-count]");
  if (count) count.textContent = chosen.length ? `${everything ? total : chosen.length} selected` : "";
  const more = bar.querySelector("[data-select-matching]");
  if (more) more.hidden = everything || total <= chosen.length;
  for (const button of bar.querySelectorAll("[data-needs-selection]")) offer(button, chosen, everything);
}

// A button counts those of the selection that it can take, and says why when it can take none.
function offer(button, chosen, everything) {
  const can = chosen.filter((each) => each.closest("tr").dataset.can?.split(" ").includes(button.dataset.can)).length;
  const number = button.querySelector("[data-can-count]");
  if (number) number.textContent = !everything && can && can < chosen.length ? can : "";
  button.disabled = !everything && can === 0;
  button.title = chosen.length === 0 ? "Select runs first" : can === 0 && !everything ? "None of the selected runs can" : "";
}

const lightAll = () => document.querySelectorAll("form[data-selection]").forEach(light);

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest?.(selector);
  const input = at("input.box");
  const form = (at("form[data-selection]"));
  if (!form) return;
  if (input?.matches("[data-select-all]")) {
    for (const each of boxes(form)) each.checked = input.checked;
    matchAll(form, false);
    light(form);
  } else if (input?.name) {
    select(input, input.checked, event.shiftKey);
  } else if (at("[data-select-matching]")) {
    for (const each of boxes(form)) each.checked = true;
    matchAll(form, true);
    light(form);
  } else if (at("[data-selection-clear]")) {
    clear(form);
  }
});

// Morphing keeps checked boxes; the toolbar and the rows that are new follow.
document.addEventListener("htmx:after:settle", lightAll);
addEventListener("pageshow", lightAll);
lightAll();

// Keys. `g` waits a moment for its second letter.

let pending = "";
let timer;

function go(letter) {
  const entry = document.querySelector(`[data-go="${letter}"]`);
  pending = "";
  if (entry) location.assign(entry.dataset.href);
}

function search() {
  const field = document.querySelector("main [data-search]") ?? document.querySelector("[data-search-global]");
  document.querySelector("[data-search-open]")?.offsetParent && field.matches("[data-search-global]")
    ? document.querySelector("[data-search-open]").click() : field?.focus();
  field?.select?.();
}

const actions = {
  "/": search,
  "?": () => document.getElementById("keys")?.showModal(),
  j: () => move(1),
  k: () => move(-1),
  n: () => location.assign(document.querySelector('[data-key="n"]').dataset.href),
  x: (event) => { const input = box(current()); if (input) select(input, !input.checked, event.shiftKey); },
  Enter: () => (current()?.querySelector("a.row-link") ?? current()?.querySelector("a[href]"))?.click(),
  g: () => { pending = "g"; clearTimeout(timer); timer = setTimeout(() => { pending = ""; }, 1200); },
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
  if (event.key === "Escape") return escape(event);
  if (typing(event.target) || document.querySelector("dialog[open], [popover]:popover-open:not(.toasts)")) return;
  if (event.key === "Enter" && event.target.closest?.("a, button, input, summary")) return;
  const key = event.key === "X" ? "x" : event.key;
  if (pending === "g") return go(key);
  if (!(key in actions)) return;
  if (key === "Enter" && !current()) return;
  event.preventDefault();
  actions[key](event);
}

function escape(event) {
  if (typing(event.target)) return event.target.blur();
  if (document.querySelector("dialog[open], [popover]:popover-open:not(.toasts)")) return;
  document.querySelectorAll("form[data-selection]").forEach(clear);
  makeCurrent(null);
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-keys-open]")) document.getElementById("keys")?.showModal();
  if (!event.target.closest?.("main tr[data-row]")) return;
  makeCurrent(event.target.closest("tr[data-row]"));
});

// The search bar's module comes when there is something in the bar to draw, or somebody goes there.

const searchBar = (element) => element?.closest?.("[data-search-bar]");
const bring = () => import("./search.js");
if ([...document.querySelectorAll("[data-search-bar] input[name=q]")].some((field) => field.value)) bring();
document.addEventListener("focusin", (event) => { if (searchBar(event.target)) bring(); });
if (searchBar(document.activeElement)) bring();

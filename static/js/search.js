// The search bar: tokens drawn under its text, and a list of what could stand at the cursor.
//
// It stays one text field, so copy, undo and the form work as ever; without this module, which rows.js brings
// when somebody goes to a search bar, it is just that.
// /search/complete/ answers with a listbox; an option replaces the letters from data-start to data-end.

const bar = (element) => element?.closest?.("[data-search-bar]");
const input = (box) => box.querySelector("input[name=q]");
const list = Object.assign(document.createElement("div"), { className: "completions-host" });
(document.getElementById("main") ?? document.body).append(list);

let asked = 0;
let timer;

// Tokens: a finished qualifier is tinted, the one being typed has an outline, a negated one is grey.

const TERM = /-?(?:[^\s()":]+:)?(?:"(?:\\.|[^"\\])*"?|[^\s()"])+/gu;
const QUALIFIER = /^-?[^\W\d]\w*:/u;

function pieces(text, cursor, wrongAt) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(TERM)) {
    const stop = match.index + match[0].length;
    const kinds = [];
    const typing = cursor !== null && cursor >= match.index && cursor <= stop;
    if (QUALIFIER.test(match[0])) kinds.push(typing ? "token-typed" : "token");
    if (match[0].startsWith("-") && !typing) kinds.push("token-not");
    if (wrongAt !== null && wrongAt >= match.index && wrongAt <= stop) kinds.push("token-wrong");
    found.push([text.slice(end, match.index), ""], [match[0], kinds.join(" ")]);
    end = stop;
  }
  found.push([text.slice(end), ""]);
  return found;
}

// The server counts letters (code points) from 1; JavaScript counts UTF-16 units from 0.
function wrongUnit(box, text) {
  const field = input(box);
  if (!box.dataset.wrongAt || text !== field.defaultValue) return null;
  return [...text].slice(0, Number(box.dataset.wrongAt) - 1).join("").length;
}

function draw(box) {
  const field = input(box);
  let layer = box.querySelector(".search-tokens");
  if (!layer) {
    layer = Object.assign(document.createElement("div"), { className: "search-tokens" });
    layer.setAttribute("aria-hidden", "true");
    field.before(layer);
    box.classList.add("is-drawn");
  }
  const cursor = document.activeElement === field ? field.selectionStart : null;
  const spans = pieces(field.value, cursor, wrongUnit(box, field.value)).map(([text, kind]) =>
    kind ? Object.assign(document.createElement("span"), { textContent: text, className: kind }) : text);
  layer.replaceChildren(...spans);
  layer.scrollLeft = field.scrollLeft;
}

const drawAll = () => document.querySelectorAll("[data-search-bar]").forEach((box) => { prepare(box); draw(box); });

function prepare(box) {
  const field = input(box);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", "completions");
  const isOpen = menu() !== null && document.activeElement === field; // the server knows nothing of it
  field.setAttribute("aria-expanded", String(isOpen));
  if (isOpen && chosen()) field.setAttribute("aria-activedescendant", chosen().id);
}

// The list of completions.

const menu = () => list.querySelector("#completions");
const options = () => [...list.querySelectorAll('[role="option"]')];
const chosen = () => list.querySelector('[aria-selected="true"]');
const openField = () => document.querySelector('[data-search-bar] input[aria-expanded="true"]');

async function complete(field) {
  const turn = ++asked;
  const url = new URL(bar(field).dataset.complete, location.href);
  url.search = new URLSearchParams({ q: field.value, at: field.selectionStart });
  try {
    const answer = await fetch(url, { headers: { "HX-Request": "true", "HX-Current-URL": location.href } });
    const text = answer.ok ? await answer.text() : "";
    if (turn !== asked || document.activeElement !== field) return;
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("completions");
    if (fresh?.querySelector('[role="option"], .menu-head')) show(field, document.adoptNode(fresh));
    else close();
  } catch {
    close();
  }
}

function show(field, fresh) {
  fresh.className = "completions"; // not a menu, which would take the focus
  fresh.popover = "manual";
  list.replaceChildren(fresh);
  fresh.append(keys());
  fresh.showPopover();
  place(field, fresh);
  field.setAttribute("aria-expanded", "true");
  field.removeAttribute("aria-activedescendant");
}

function keys() {
  const line = Object.assign(document.createElement("div"), { className: "completions-keys" });
  line.setAttribute("aria-hidden", "true");
  line.innerHTML = "<span><kbd>↑</kbd> <kbd>↓</kbd> move</span><span><kbd>Tab</kbd> take</span><span><kbd>Esc</kbd> close</span>";
  return line;
}

// Under the term that is being typed, as far as it fits into the window.
function place(field, box) {
  const layer = bar(field).querySelector(".search-tokens");
  const edge = field.getBoundingClientRect();
  const range = document.createRange();
  range.selectNodeContents(layer);
  const share = field.value.length ? Number(box.dataset.start) / field.value.length : 0;
  const wanted = edge.left + 26 + range.getBoundingClientRect().width * share - field.scrollLeft;
  box.style.left = `${Math.max(8, Math.min(wanted, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${edge.bottom + 4}px`;
  box.style.maxHeight = `${Math.max(120, innerHeight - edge.bottom - 16)}px`;
}

function close() {
  asked += 1;
  clearTimeout(timer);
  list.replaceChildren();
  const field = openField();
  field?.setAttribute("aria-expanded", "false");
  field?.removeAttribute("aria-activedescendant");
}

function choose(field, option) {
  chosen()?.setAttribute("aria-selected", "false");
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  if (option) field.setAttribute("aria-activedescendant", option.id);
}

function move(field, step) {
  const all = options();
  if (!all.length) return;
  const here = all.indexOf(chosen());
  choose(field, all[here < 0 ? (step > 0 ? 0 : all.length - 1) : (here + step + all.length) % all.length]);
}

// As typing would: the browser's own undo takes it back.
function take(field, option) {
  const { start, end } = menu().dataset;
  field.setSelectionRange(Number(start), Number(end));
  if (!document.execCommand("insertText", false, option.dataset.insert)) {
    field.setRangeText(option.dataset.insert, Number(start), Number(end), "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

// Events.

function soon(field) {
  clearTimeout(timer);
  timer = setTimeout(() => complete(field), 120);
}

document.addEventListener("input", (event) => {
  const box = bar(event.target);
  if (!box) return;
  draw(box);
  soon(event.target);
});

document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (!bar(field) || event.isComposing) return;
  const open = menu() !== null;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (open) move(field, event.key === "ArrowDown" ? 1 : -1);
    else complete(field);
  } else if (event.key === "Tab" && !event.shiftKey && open && options().length && field.value) {
    event.preventDefault();
    take(field, chosen() ?? options()[0]);
  } else if (event.key === "Enter") {
    if (open && chosen()) {
      event.preventDefault();
      take(field, chosen());
    } else close();
  } else if (event.key === "Escape" && open) {
    event.preventDefault();
    event.stopPropagation();
    close();
  }
}, true);

document.addEventListener("pointerdown", (event) => {
  const option = event.target.closest?.('.completions [role="option"]');
  const field = openField();
  if (option && field) {
    event.preventDefault();
    take(field, option);
  } else if (!bar(event.target) && !event.target.closest?.(".completions")) close();
});

document.addEventListener("selectionchange", () => {
  const box = bar(document.activeElement);
  if (box) draw(box);
});
function onFocus(field) {
  const box = bar(field);
  if (box && field === input(box) && !field.value) complete(field);
}
document.addEventListener("focusin", (event) => onFocus(event.target));
document.addEventListener("focusout", (event) => {
  const box = bar(event.target);
  if (!box) return;
  close();
  draw(box);
});
document.addEventListener("scroll", (event) => {
  const box = bar(event.target);
  if (box) draw(box);
}, true);
addEventListener("resize", close);
document.addEventListener("htmx:after:settle", drawAll);
addEventListener("pageshow", drawAll);
drawAll();
onFocus(document.activeElement);

// The tag editor completes in place: what is typed, then in grey the rest of a tag that exists; Tab takes it.
//
// <datalist id="tag-suggestions"> is filled by htmx from the server; without this module the browser offers it.

const entry = (target) => target.closest?.("[data-tag-editor] input[name=add]");

function offered(input) {
  const typed = input.value.toLowerCase();
  if (!typed || input.selectionStart !== input.value.length) return "";
  const options = document.getElementById(input.dataset.suggestions)?.options ?? [];
  const found = [...options].find((o) => o.value.toLowerCase().startsWith(typed) && o.value.length > typed.length);
  return found ? found.value.slice(typed.length) : "";
}

function draw(input) {
  const box = input.parentElement;
  const rest = document.activeElement === input ? offered(input) : "";
  let ghost = box.querySelector(".tag-ghost");
  if (!ghost) {
    ghost = Object.assign(document.createElement("div"), { className: "tag-ghost" });
    ghost.setAttribute("aria-hidden", "true");
    box.append(ghost);
  }
  const before = Object.assign(document.createElement("span"), { textContent: input.value });
  ghost.replaceChildren(...(rest ? [before, rest] : []));
  const key = box.querySelector("kbd");
  if (key) key.textContent = rest ? "Tab" : "Enter";
}

// The browser's own list would cover ours.
function takeOver(input) {
  if (!input.hasAttribute("list")) return;
  input.dataset.suggestions = input.getAttribute("list");
  input.removeAttribute("list");
}

document.addEventListener("focusin", (event) => {
  const input = entry(event.target);
  if (input) takeOver(input);
});
document.addEventListener("input", (event) => {
  const input = entry(event.target);
  if (input) draw(input);
});
document.addEventListener("focusout", (event) => {
  const input = entry(event.target);
  if (input) draw(input);
});
// A morph keeps what was typed; after an edit the answer says what is left in the field, if it brought the field.
document.addEventListener("htmx:after:swap", (event) => {
  const { request, response, sourceElement } = event.detail.ctx;
  if (request.method !== "POST" || ![200, 422].includes(response.status)) return;
  const input = sourceElement.closest?.("[data-tag-editor]")?.querySelector("input[name=add]");
  if (input) input.value = input.getAttribute("value") ?? "";
});
document.addEventListener("htmx:after:settle", () => {
  const input = entry(document.activeElement ?? document.body);
  if (input) {
    takeOver(input);
    draw(input);
  }
});
// Esc leaves the field, so that keys act on the page again; the focus stays where Tab goes on from.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") entry(event.target)?.closest("[data-tag-editor]").focus();
});
document.addEventListener("keydown", (event) => {
  const input = entry(event.target);
  if (!input || event.key !== "Tab" || event.shiftKey) return;
  const rest = offered(input);
  if (!rest) return;
  event.preventDefault();
  input.value += rest;
  draw(input);
});

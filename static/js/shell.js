// The frame around every page: drawer, menus, theme, search on narrow screens, copy buttons, toasts.

const SHOWN_MS = 6000;
const narrow = matchMedia("(max-width: 767px)");

// A strip of tabs that is wider than the window begins where the present one can be seen.

for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
  const strip = tab.closest(".tabs");
  const past = tab.getBoundingClientRect().right + 16 - strip.getBoundingClientRect().right;
  if (past > 0) strip.scrollLeft += past;
}

// Menus are popovers: the browser opens, closes and dismisses them; this puts them beside their button.

function place(menu) {
  const button = document.querySelector(`[popovertarget="${menu.id}"]:not(#${menu.id} *)`);
  const near = [...document.querySelectorAll(`[popovertarget="${menu.id}"]`)].find((b) => b.offsetParent) ?? button;
  const edge = near?.getBoundingClientRect() ?? { left: innerWidth - 16, right: innerWidth - 16, bottom: 48, top: 48 };
  const size = menu.getBoundingClientRect();
  const wanted = menu.dataset.align === "end" ? edge.right - size.width : edge.left;
  const below = edge.bottom + 4 + size.height <= innerHeight;
  menu.style.left = `${Math.max(8, Math.min(wanted, innerWidth - size.width - 8))}px`;
  menu.style.top = `${below ? edge.bottom + 4 : Math.max(8, edge.top - size.height - 4)}px`;
}

const entries = (menu) => [...menu.querySelectorAll(".menu-item:not(:disabled)")].filter((e) => e.offsetParent);

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.("[popover].menu") || event.newState !== "open") return;
  place(menu);
  if (menu.matches(":has(:focus)")) return;
  (menu.querySelector("[autofocus]") ?? entries(menu)[0])?.focus({ preventScroll: true });
}, true);

function moveInMenu(event) {
  const menu = event.target.closest?.("[popover].menu");
  if (!menu || event.target.matches("input:not([type=checkbox]), textarea, select")) return;
  const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const all = entries(menu);
  const here = all.indexOf(document.activeElement);
  const step = steps[event.key];
  const to = Number.isFinite(step) ? (here + step + all.length) % all.length : step < 0 ? 0 : all.length - 1;
  all[to]?.focus();
}

document.addEventListener("keydown", moveInMenu);
addEventListener("resize", () => document.querySelectorAll("[popover].menu:popover-open").forEach(place));

// The side bar as a drawer.

const side = document.getElementById("side");
const opener = document.querySelector("[data-drawer-open]");

function drawer(open) {
  side?.classList.toggle("is-open", open);
  document.querySelectorAll(".skip-link, .top, .main").forEach((part) => { part.inert = open; });
  opener?.setAttribute("aria-expanded", String(open));
  if (open) side.querySelector("a, button")?.focus();
  else if (narrow.matches && side?.contains(document.activeElement)) opener?.focus();
}

narrow.addEventListener("change", () => drawer(false));

// Theme: kept in a cookie, so that the server sends the page in the right colours.

function theme(choice) {
  const root = document.documentElement;
  if (choice) root.dataset.theme = choice;
  else delete root.dataset.theme;
  document.cookie = `studio_theme=${choice}; path=/; SameSite=Lax; max-age=${choice ? 31536000 : 0}`;
  for (const entry of document.querySelectorAll("[data-theme-choice]")) {
    if (entry.dataset.themeChoice === choice) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
  }
  document.getElementById("theme-menu")?.hidePopover();
}

// Copy: data-copy="text", data-copy-link (this page's address), or data-copy="#id" for that element's text. A link
// names its workspace, because who opens it may look at another one.

async function copy(button) {
  const wanted = button.dataset.copy;
  const text = wanted === undefined ? linkTo(button.dataset.copyLink || "")
    : wanted.startsWith("#") ? document.querySelector(wanted)?.textContent ?? "" : wanted;
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(text.trim());
  } catch {
    said = copyOldWay(text.trim()) ? said : "Copying is not allowed here";
  }
  toast({ text: said, kind: said === "Copied" ? "success" : "warning" });
}

function linkTo(place) {
  const link = new URL(place, location.href);
  link.searchParams.set("workspace", document.querySelector('meta[name="workspace"]').content);
  return link.href;
}

function copyOldWay(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// Toasts: on the page when it comes, or in an event of an htmx answer: {toasts: [{text, kind, undo, open}]}.

const region = document.getElementById("toasts");
const blank = document.getElementById("toast-template");
const icons = { success: "check", info: "info-circle", warning: "alert-triangle", error: "alert-circle" };

/** Above all that floats, and within the open modal dialog: it lies over the page, and nothing outside can be used. */
export function raiseToasts() {
  if (!region) return;
  const place = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  if (region.parentElement !== place) place.append(region);
  region.popover = "manual";
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover();
}
document.addEventListener("htmx:after:swap", () => { if (region && !region.isConnected) raiseToasts(); });

function fade(box) {
  let timer;
  const wait = () => { timer = setTimeout(() => box.remove(), SHOWN_MS); };
  const hold = () => clearTimeout(timer);
  box.addEventListener("pointerenter", hold);
  box.addEventListener("focusin", hold);
  box.addEventListener("pointerleave", () => { hold(); wait(); });
  box.addEventListener("focusout", () => { hold(); wait(); });
  wait();
}

export function toast({ text, kind = "info", undo = "", open = "" }) {
  if (!blank || !region) return;
  const box = blank.content.firstElementChild.cloneNode(true);
  box.className = `toast toast-${kind}`;
  box.querySelector(".toast-text").textContent = text;
  const use = box.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icons[kind] ?? icons.info}`));
  const form = box.querySelector("[data-toast-undo]");
  const link = box.querySelector("[data-toast-open]");
  if (undo) form.action = undo; else form.remove();
  if (open) link.href = open; else link.remove();
  for (const old of [...region.children]) if (!old.querySelector("[data-toast-undo]")) old.remove();
  region.prepend(box);
  raiseToasts();
  fade(box);
}

document.addEventListener("toast", (event) => event.detail?.toasts?.forEach(toast));
region?.querySelectorAll("[data-toast]").forEach(fade);
raiseToasts();

// One listener for every click that the frame answers.

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest?.(selector);
  if (at("[data-drawer-open]")) drawer(true);
  else if (at("[data-drawer-close]")) drawer(false);
  else if (at("[data-search-open]")) searchNarrow(true);
  else if (at("[data-theme-choice]")) theme(at("[data-theme-choice]").dataset.themeChoice);
  else if (at("[data-copy], [data-copy-link]")) copy(at("[data-copy], [data-copy-link]"));
  else if (at("[data-toast-close]")) at("[data-toast]").remove();
  else if (at("[data-reveal]")) reveal(at("[data-reveal]"));
});

function searchNarrow(open) {
  const box = document.querySelector(".top-search");
  box.classList.toggle("is-open", open);
  if (open) box.querySelector("input").focus();
}

function leaveSearch(field) {
  if (!narrow.matches) return field.blur();
  searchNarrow(false);
  document.querySelector("[data-search-open]").focus();
}

function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const hidden = field.type === "password";
  field.type = hidden ? "text" : "password";
  button.setAttribute("aria-pressed", String(hidden));
}

document.addEventListener("focusout", (event) => {
  if (event.target.matches?.("[data-search-global]") && !event.target.value) searchNarrow(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (side?.classList.contains("is-open")) drawer(false);
  if (event.target.matches?.("[data-search-global]")) leaveSearch(event.target);
});

// What is sent in place from a menu leaves it as a choice that goes to another page does.
document.addEventListener("submit", (event) => {
  if (event.target.matches("[popover].menu [hx-post]")) event.target.closest("[popover].menu").hidePopover();
});

// What is undone otherwise is not offered to be undone any more.
document.addEventListener("submit", (event) => {
  for (const undo of region?.querySelectorAll("[data-toast-undo]") ?? []) {
    if (undo !== event.target && undo.getAttribute("action") === event.target.getAttribute("action")) undo.closest("[data-toast]").remove();
  }
});

// A form that is being sent is not sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "dialog" || form.closest("[hx-post]") || event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  else if (form.method === "post") form.dataset.sent = "1";
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));

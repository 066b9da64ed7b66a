// What keeps a page true: polling, the lost connection, the expired session, durations and ages that tick.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const served = Date.parse(meta("server-time"));
const offset = Number.isNaN(served) ? 0 : served - Date.now();
export const now = () => Date.now() + offset; // the server's
const POLLING = '[hx-trigger*="every"]';

// Polling stops in a hidden tab and starts again at once.

const isPoll = (ctx) => ctx.sourceEvent?.type === "every";

document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && isPoll(event.detail.ctx)) event.preventDefault();
});

function pollNow() {
  for (const part of document.querySelectorAll(POLLING)) htmx.trigger(part, "every", {}, false);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) pollNow();
});

// A part that was drawn otherwise since it asked for itself (unfolded, sorted) shows that, not the older answer.

document.addEventListener("htmx:before:swap", (event) => {
  const { sourceElement, target, request } = event.detail.ctx;
  const isOwn = sourceElement === target && sourceElement.isConnected && request.method === "GET";
  if (isOwn && request.action !== sourceElement.getAttribute("hx-get")) event.preventDefault();
});

// Refresh: every live part that listens for it asks for itself; without one the link just loads the page.

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-refresh]");
  if (link && !event.ctrlKey && !event.metaKey && document.querySelector('main [hx-trigger*="refresh"]')) {
    event.preventDefault();
    htmx.trigger(document.body, "refresh");
  } else if (event.target.closest?.("[data-try-again]")) {
    pollNow();
  }
});

// The line that says since when the page may be wrong.

const banner = document.getElementById("connection");
let truth = new Date();
let lost = false;

function connection(isLost) {
  if (!isLost) truth = new Date();
  if (lost === isLost || !banner) return;
  lost = isLost;
  banner.hidden = !lost;
  banner.querySelector("[data-truth]").textContent = truth.toTimeString().slice(0, 8);
}

const UNKNOWN = "Look whether it was done before you try again.";
const say = (text) => document.dispatchEvent(new CustomEvent("toast", { detail: { toasts: [{ text, kind: "error" }] } }));

// The line says enough for a part that asks for itself; what a person has asked for is answered. `said` is why.
function sayUnreached(ctx, said = "") {
  if (["every", "run-changed", "refresh"].includes(ctx.sourceEvent?.type)) return;
  const advice = ctx.request.method === "GET" ? "Try again." : UNKNOWN;
  say(said || `The server could not be reached. ${advice}`);
}

document.addEventListener("htmx:error", (event) => {
  const { ctx, error } = event.detail;
  if (!ctx || !(error instanceof TypeError || error === "timeout")) return;
  connection(true);
  sayUnreached(ctx);
});
addEventListener("offline", () => connection(true));
addEventListener("online", pollNow);

// A session that ended sends the page to the sign-in and back, unless something typed would be lost by it: then the
// page stays, and a bar says so until an answer comes that is signed in.

function isTyped(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.localName !== "select") return field.value !== field.defaultValue;
  const first = [...field.options].findIndex((option) => option.defaultSelected);
  return field.selectedIndex !== Math.max(first, Math.min(0, field.options.length - 1));
}

// What was refused is nowhere but here, though the form came with it. `data-touched` is for what no field shows.
const holdsText = (form) => "touched" in form.dataset || form.querySelector(".error") || [...form.querySelectorAll("input:not([type=hidden]), textarea, select")].some(isTyped);

let isLeaving = false; // every part of the page hears that the session has ended, and a second way there would break the first off
addEventListener("pageshow", () => { isLeaving = false; });

function toSignIn() {
  if (isLeaving) return;
  isLeaving = true;
  const back = location.pathname + location.search;
  location.assign(`${meta("sign-in")}?next=${encodeURIComponent(back)}`);
}

/** Whether the page stays. */
function signedOut() {
  if (![...document.querySelectorAll('form[method="post"]:not([data-selection])')].some(holdsText)) {
    toSignIn();
    return false;
  }
  const place = document.querySelector("dialog:modal .dialog-head") ?? banner;
  if (!place.nextElementSibling?.matches(".signed-out")) place.after(document.getElementById("signed-out").content.cloneNode(true));
  return true;
}

/** What the status of any answer says of the session. Whether the page stays. */
export function heard(status) {
  if (status === 401) return signedOut();
  if (status < 400 || status === 422) for (const bar of document.querySelectorAll(".signed-out")) bar.remove();
  return true;
}

const cookie = (name) => document.cookie.match(`(?:^|; )${name}=([^;]+)`)?.[1];

const isSomebodyElse = () => cookie("studio_person") !== undefined && cookie("studio_person") !== meta("person");

/** The token that forms need. Who was signed in anew in another tab has another one than the page came with; what
 * somebody else is signed in with there is not for what was typed here. */
export const token = () => (isSomebodyElse() ? undefined : cookie("studio_csrf"));

document.addEventListener("submit", (event) => {
  const field = event.target.querySelector("[name=csrfmiddlewaretoken]");
  if (field && token()) field.value = token();
}, true);
document.addEventListener("htmx:config:request", (event) => {
  const { headers } = event.detail.ctx.request;
  if (headers["X-CSRFToken"] && token()) headers["X-CSRFToken"] = token();
});

// A form that is sent as a page takes what it holds along, so its page first asks whether anybody is signed in still.

const asked = new WeakSet();

async function isSignedIn() {
  const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
  const { status } = await fetch(meta("shell"), { method: "HEAD", headers }); // not every page answers to HEAD
  if (isAway(status)) throw new Error(`a proxy answers ${status}`);
  return status !== 401 && !isSomebodyElse();
}

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented || form.method !== "post" || form.closest("[hx-post]") || !holdsText(form) || asked.delete(form)) return;
  event.preventDefault();
  let stays = true;
  try {
    if (await isSignedIn()) asked.add(form);
    else stays = signedOut();
  } catch {
    say("The server could not be reached, so nothing was sent. Try again.");
  }
  if (stays) delete form.dataset.sent;
  if (!asked.has(form)) return;
  form.dataset.confirmed = "1"; // what had to be asked has been, before this
  form.requestSubmit(submitter);
  delete form.dataset.confirmed;
});

// Answers that are not a part: a session that ended, a refusal, an error of the server.

const isAway = (status) => [502, 503, 504].includes(status);

document.addEventListener("htmx:before:response", (event) => {
  const { response } = event.detail.ctx;
  const { pathname } = new URL(response.raw.url);
  // Another person's answer would bring a token that saves in their name what was typed here.
  const isOthers = response.status < 400 && isSomebodyElse();
  const isOut = isOthers || response.status === 401 || (response.raw.redirected && pathname === meta("sign-in"));
  connection(isAway(response.status));
  if (isOut) event.preventDefault();
  heard(isOut ? 401 : response.status);
});

document.addEventListener("htmx:response:error", (event) => {
  const { ctx } = event.detail;
  if (ctx.response.status === 422 || isPoll(ctx)) return;
  const page = new DOMParser().parseFromString(ctx.text, "text/html");
  const said = page.querySelector("[data-error]")?.textContent.trim();
  if (isAway(ctx.response.status)) sayUnreached(ctx, said);
  else say(said || `The server answered ${ctx.response.status}. ${ctx.response.status < 500 ? "Nothing was changed." : UNKNOWN}`);
});

// Durations and ages. The texts are those of ticking_text and ago_text in runs/formats.py.

const two = (n) => String(n).padStart(2, "0");

export function durationText(seconds) {
  const s = Math.floor(seconds);
  if (s < 1) return "<1s";
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d ${two(Math.floor((s % 86400) / 3600))}h`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function agoText(moment) {
  const s = Math.floor((now() - moment) / 1000);
  if (s < 1) return "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  if (s < 172800) return "yesterday";
  if (s < 604800) return `${Math.floor(s / 86400)} days ago`;
  const day = new Date(moment);
  const year = day.getUTCFullYear() === new Date(now()).getUTCFullYear() ? "" : ` ${day.getUTCFullYear()}`;
  return `${day.getUTCDate()} ${MONTHS[day.getUTCMonth()]}${year}`;
}

// `what` now and then every second, as long as what the page says can be trusted and somebody can see it.
export function everySecond(what) {
  const turn = () => { if (!document.hidden && !lost) what(); };
  document.addEventListener("htmx:after:settle", turn);
  setInterval(turn, 1000);
  turn();
}

const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function tick() {
  for (const e of document.querySelectorAll("[data-since]")) write(e, durationText((now() - Date.parse(e.dataset.since)) / 1000));
  for (const e of document.querySelectorAll("[data-ago]")) write(e, agoText(Date.parse(e.dateTime)));
}

function clocks(within) {
  for (const e of within.querySelectorAll("time[data-clock]")) {
    write(e, new Date(e.dateTime).toTimeString().slice(0, 8));
  }
}

document.addEventListener("htmx:after:settle", () => clocks(document));
clocks(document);
everySecond(tick);

// The Logs tab: lines that come by themselves, pages back and forth, levels, the rail. The server renders every line.

import { heard } from "./live.js";

const POLL_MS = 1000;
const MOST_LINES = 5000;
const NEAR_PX = 400;
const AT_END_PX = 30;

const root = document.getElementById("logs");
const scroll = document.getElementById("log-scroll");
const lines = document.getElementById("log-lines");
const pill = document.getElementById("log-pill");
const rail = document.getElementById("log-rail");
const narrow = matchMedia("(max-width: 767px)");

// What is loaded: bytes [start, end) of a log of `size`; `next` and `number` are where reading goes on.
const log = { term: new URL(location.href).searchParams.get("q") ?? "" };
let following = false;
let seenTotal = 0;
let isOver = Boolean(root.dataset.ended);
let turn = Promise.resolve();
let timer;

const inTurn = (work) => (turn = turn.then(work, work));
const allLines = () => lines.children;
const numberOf = (line) => Number(line.id.slice(1));
const isAtEnd = () => log.end >= log.size;

function take(part, { ends = "both" } = {}) {
  const facts = part.dataset;
  if (ends !== "later") log.start = Number(facts.start);
  if (ends !== "earlier") Object.assign(log, { end: Number(facts.end), next: Number(facts.next), number: Number(facts.number) });
  takeNews(facts);
}

function takeNews(facts) {
  log.size = Math.max(log.size ?? 0, Number(facts.size));
  log.total = Math.max(log.total ?? 0, Number(facts.total));
  log.state = facts.state;
  log.status = facts.status;
}

// Asking.

/** The server has answered, and not with what was asked for. */
export class Refused extends Error {
  constructor(status) {
    super(`The server answered ${status}.`);
    this.status = status;
  }
}

async function get(url, params) {
  const address = new URL(url, location.href);
  for (const [key, value] of Object.entries(params)) if (value !== "" && value !== undefined) address.searchParams.set(key, value);
  const answer = await fetch(address, { headers: { "HX-Request": "true", "HX-Current-URL": location.href } });
  if (!heard(answer.status)) return new Promise(() => {}); // the page goes away; nothing on it asks any more
  if (answer.status === 204) return null;
  if (!answer.ok) throw new Refused(answer.status);
  return answer;
}

export const searchFor = async (params) => (await get(root.dataset.searchUrl, params)).json();

async function ask(params) {
  const answer = await get(root.dataset.linesUrl, { ...params, q: log.term });
  if (!answer) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return document.adoptNode(page.getElementById("log-lines"));
}

// Showing.

function replaceAll(part) {
  take(part);
  lines.replaceChildren(...part.children);
  changed();
}

function append(part) {
  take(part, { ends: "later" });
  for (const line of [...part.children]) {
    const old = document.getElementById(line.id);
    if (old) old.replaceWith(line);
    else lines.append(line);
  }
  const surplus = allLines().length - MOST_LINES;
  if (surplus > 0) {
    const before = scroll.scrollHeight;
    for (const line of [...allLines()].slice(0, surplus)) line.remove();
    log.start = Number(allLines()[0].dataset.at);
    scroll.scrollTop -= before - scroll.scrollHeight;
  }
  changed();
}

function prepend(part) {
  const before = scroll.scrollHeight - scroll.scrollTop;
  take(part, { ends: "earlier" });
  lines.prepend(...[...part.children].filter((line) => !document.getElementById(line.id)));
  scroll.scrollTop = scroll.scrollHeight - before;
  const removed = [...allLines()].slice(MOST_LINES);
  if (removed.length) {
    log.end = log.next = Number(removed[0].dataset.at);
    log.number = numberOf(removed[0]);
    following = false;
    for (const line of removed) line.remove();
  }
  changed();
}

const inLines = (n) => `${n.toLocaleString("en")} line${n === 1 ? "" : "s"}`;

function changed() {
  lines.dataset.digits = String(log.number).length;
  document.getElementById("log-empty").hidden = log.size > 0 || !document.getElementById("log-empty").textContent.trim();
  const total = document.getElementById("log-total");
  total.hidden = !log.total;
  total.textContent = inLines(log.total);
  for (const link of document.querySelectorAll("[data-log-raw]")) link.hidden = !log.size;
  const earlier = document.getElementById("log-earlier");
  earlier.parentElement.hidden = !(log.start > 0);
  earlier.href = `${root.dataset.logUrl}&before=${log.start}`;
  document.getElementById("log-later").href = `${root.dataset.logUrl}&from=${log.next}`;
  if (following) toBottom();
  drawPill();
  levels();
  drawRail();
}

function toBottom() {
  scroll.scrollTop = scroll.scrollHeight;
}

function drawPill() {
  document.getElementById("log-after").hidden = isAtEnd();
  const fresh = log.total - seenTotal;
  const attempt = Number(log.state.split(":")[0]);
  const stale = root.hasAttribute("data-current") && root.dataset.attempt !== "0" && attempt > Number(root.dataset.attempt);
  let text = following ? "Following the end" : fresh > 0 ? `${fresh.toLocaleString("en")} new line${fresh === 1 ? "" : "s"}` : "Go to the end";
  if (isOver) text = isScrolledDown() && isAtEnd() ? `End of log, run ${log.status}` : "Go to the end";
  if (stale) text = `Attempt ${attempt} has begun`;
  pill.hidden = !stale && !allLines().length;
  pill.querySelector("[data-text]").textContent = text;
  pill.querySelector(".dot").hidden = isOver || !following;
  pill.dataset.stale = stale ? "1" : "";
}

const isScrolledDown = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < AT_END_PX;

function followFrom(isFollowing) {
  if (following && !isFollowing) seenTotal = log.total;
  following = isFollowing;
  drawPill();
}

// Going somewhere. Each waits for its turn, so that pages never overtake one another.

const earlier = () => inTurn(async () => {
  if (log.start > 0) prepend(await ask({ before: log.start }));
});

const later = () => inTurn(async () => {
  if (!isAtEnd()) append(await ask({ after: undefined, from: log.next }));
  if (isAtEnd() && isScrolledDown()) followFrom(!isOver);
});

const toEnd = () => inTurn(async () => {
  if (!isAtEnd() || !allLines().length) replaceAll(await ask({}));
  toBottom();
  followFrom(!isOver);
});

/** Shows the line, which is loaded if need be; `offset` is a byte of it. */
export const toLine = (number, offset) => inTurn(async () => {
  followFrom(false);
  if (!document.getElementById(`L${number}`)) replaceAll(await ask(offset === undefined ? { line: number } : { at: offset }));
  const line = document.getElementById(`L${number}`);
  line?.scrollIntoView({ block: "center" });
  return line;
});

/** Asks for what is in view again, with or without marks of a term; the view stays where it is. */
export const markTerm = (term) => inTurn(async () => {
  const before = log.term;
  log.term = term;
  if (before === term || (!term && !lines.querySelector("mark"))) return;
  try {
    await loadAgain();
  } catch (error) {
    log.term = before;
    throw error;
  }
});

async function loadAgain() {
  if (following || !allLines().length) {
    replaceAll(await ask({}));
    return;
  }
  const top = topLine();
  const id = top.id;
  const place = top.getBoundingClientRect().top;
  replaceAll(await ask({ at: top.dataset.at }));
  scroll.scrollTop += (document.getElementById(id)?.getBoundingClientRect().top ?? place) - place;
}

/** The first line in view. */
export function topLine() {
  const edge = scroll.getBoundingClientRect().top;
  const all = allLines();
  let low = 0;
  let high = all.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle].getBoundingClientRect().bottom > edge) high = middle;
    else low = middle + 1;
  }
  return all[low];
}

scroll.addEventListener("scroll", () => {
  if (scroll.scrollTop < NEAR_PX && log.start > 0) pageOnce(earlier);
  if (isScrolledDown()) {
    if (!isAtEnd()) pageOnce(later);
    else if (!following) followFrom(!isOver);
  } else if (following) {
    followFrom(false);
  } else if (isOver) {
    drawPill();
  }
}, { passive: true });

let paging = false;
async function pageOnce(go) {
  if (paging) return;
  paging = true;
  try {
    await go();
  } catch {
    // The next scroll asks again.
  } finally {
    paging = false;
  }
}

// Live: once a second while the run goes on, not in a hidden tab, and once more after it has ended.

async function poll() {
  const news = { after: log.next, number: log.number, seen: log.size, state: log.state };
  const part = await ask(following || !allLines().length ? news : { ...news, count: 1 });
  if (!part) {
    isOver = !log.state.endsWith(":");
    if (isOver) followFrom(false);
    return;
  }
  const grown = Number(part.dataset.size) > log.size;
  if (part.dataset.reset !== undefined) replaceAll(part);
  else if (following || !allLines().length) append(part);
  else takeNews(part.dataset);
  changed();
  if (grown) document.dispatchEvent(new CustomEvent("log-grown"));
}

async function keepPolling() {
  clearTimeout(timer);
  if (isOver) return;
  if (!document.hidden) await inTurn(poll).catch(() => {});
  clearTimeout(timer);
  timer = setTimeout(keepPolling, POLL_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) keepPolling(); });
document.body.addEventListener("refresh", () => inTurn(poll).catch(() => {}));
document.body.addEventListener("run-changed", () => { isOver = false; keepPolling(); });

pill.addEventListener("click", () => {
  if (pill.dataset.stale) location.assign(location.pathname);
  else toEnd().catch(() => {}); // the next click asks again
});

// Levels: how many lines that are loaded speak of errors and warnings, and the way to the next one.

const panel = document.getElementById("log-levels");

function levels() {
  panel.hidden = !allLines().length;
  for (const button of panel.querySelectorAll("[data-level]")) {
    const count = lines.getElementsByClassName(`is-${button.dataset.level}`).length;
    button.querySelector("[data-count]").textContent = count;
    button.disabled = !count;
  }
  const isWhole = log.start === 0 && isAtEnd();
  document.getElementById("log-levels-scope").textContent = isWhole ? "" : `in the ${inLines(allLines().length)} loaded`;
}

panel.addEventListener("click", (event) => {
  const level = event.target.closest("[data-level]")?.dataset.level;
  const found = level ? [...lines.getElementsByClassName(`is-${level}`)] : [];
  if (!found.length) return;
  const here = numberOf(lines.querySelector(".is-chosen") ?? topLine());
  const line = found.find((one) => numberOf(one) > here) ?? found[0];
  followFrom(false);
  choose(line);
  line.scrollIntoView({ block: "center" });
});

// One line: chosen by its number, linked by its address.

const addressOf = (line) => `${root.dataset.logUrl}&line=${numberOf(line)}#${line.id}`;

function choose(line) {
  lines.querySelector(".is-chosen")?.classList.remove("is-chosen");
  line.classList.add("is-chosen");
}

lines.addEventListener("click", (event) => {
  const link = event.target.closest(".log-line > a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  choose(link.parentElement);
  history.replaceState(history.state, "", addressOf(link.parentElement));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-log-link]");
  const line = button && (lines.querySelector(".is-chosen") ?? topLine());
  if (line) button.dataset.copyLink = addressOf(line);
}, true);

// Wrapping is a habit of the person: kept in this browser.

function wrap(isWrapped) {
  root.classList.toggle("is-wrapped", isWrapped);
  root.classList.toggle("is-straight", !isWrapped);
  for (const button of document.querySelectorAll("[data-log-wrap]")) button.setAttribute("aria-pressed", String(isWrapped));
  drawRail();
}

document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-log-wrap]")) return;
  const isWrapped = !root.classList.contains("is-wrapped");
  localStorage.setItem("studio-log-wrap", isWrapped ? "1" : "0");
  if (following) {
    wrap(isWrapped);
    toBottom();
  } else {
    inPlace(() => wrap(isWrapped));
  }
});

/** Does what makes lines higher or lower; the current hit stays where it is in view, or else the first line. */
function inPlace(change) {
  const view = scroll.getBoundingClientRect();
  const hit = lines.querySelector("mark.is-current");
  const seen = hit?.getBoundingClientRect();
  const isHit = seen && seen.bottom > view.top && seen.top < view.bottom;
  const held = isHit ? hit : topLine();
  const place = held?.getBoundingClientRect().top;
  change();
  if (!held) return;
  const { top, right, height } = held.getBoundingClientRect();
  // A line that began far above may be so low now that all of it would be there.
  scroll.scrollTop += top - (place + height > view.top ? place : view.top);
  if (isHit && right > view.right) hit.scrollIntoView({ block: "nearest", inline: "center" });
}

for (const select of document.querySelectorAll("#log-open, #log-attempt")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// The rail: where hits, errors and warnings are among the lines that are loaded.

let drawing;
function drawRail() {
  clearTimeout(drawing);
  drawing = setTimeout(drawRailNow, 100);
}

function drawRailNow() {
  const scale = rail.clientHeight / Math.max(1, scroll.scrollHeight);
  const kinds = { hit: "[data-hits]", warning: ".is-warning", error: ".is-error" };
  const marks = new Map(); // the last of a place is seen
  for (const [kind, selector] of Object.entries(kinds)) {
    for (const line of lines.querySelectorAll(selector)) marks.set(Math.round((line.offsetTop + lines.offsetTop) * scale), kind);
  }
  rail.replaceChildren(...[...marks].map(([y, kind]) => {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: 3, y, width: 8, height: 2, class: `is-${kind}` })) mark.setAttribute(name, value);
    return mark;
  }));
}

rail.addEventListener("click", (event) => {
  followFrom(false);
  const part = (event.clientY - rail.getBoundingClientRect().top) / rail.clientHeight;
  scroll.scrollTop = part * scroll.scrollHeight - scroll.clientHeight / 2;
});
new ResizeObserver(() => { if (following) toBottom(); drawRail(); }).observe(scroll);

// Beginning: at the end, or at the line that the address names.

function begin() {
  take(lines);
  seenTotal = log.total;
  wrap((localStorage.getItem("studio-log-wrap") ?? (narrow.matches ? "1" : "0")) === "1");
  const asked = new URL(location.href).searchParams;
  const named = /^#L(\d+)$/.exec(location.hash)?.[1] ?? asked.get("line");
  const isElsewhere = ["at", "before", "from"].some((key) => asked.has(key));
  following = !named && !isElsewhere && isAtEnd() && !isOver;
  changed();
  if (named) toLine(Number(named)).then((line) => line && choose(line), () => {}); // what the page came with stays
  else if (!isElsewhere) toBottom();
  drawPill();
  keepPolling();
}

begin();

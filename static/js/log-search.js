// Searching a log: the server looks through the whole file, this keeps the list of hits and goes from one to the next.

import { Refused, markTerm, searchFor, toLine, topLine } from "./logs.js";
import { toast } from "./shell.js";

const MOST_HITS = 5000;
const WAIT_MS = 250;

const form = document.getElementById("log-search");
const field = document.getElementById("log-q");
const said = document.getElementById("log-found");
const buttons = [document.getElementById("log-previous"), document.getElementById("log-next")];

let term = "";
let hits = []; // {number, offset, nth}: one for each match
let current = -1;
let end = null; // where to search on when the log has grown
let isWhole = true;
let isBroken = false; // an answer did not come
let isFromStart = true; // a term that is everywhere is looked for from what is in view on
let asked = 0; // raised by each search, so that answers to older ones are dropped
let waiting;
let isPartialSaid = false;

function show() {
  const count = `${hits.length.toLocaleString("en")}${isWhole && isFromStart ? "" : "+"}`;
  said.textContent = !term ? "" : !hits.length ? (isWhole ? "None" : "…") : current < 0 ? count : `${(current + 1).toLocaleString("en")} of ${count}`;
  for (const button of buttons) button.disabled = !hits.length;
}

function add(found) {
  for (const [number, offset, matches] of found) {
    for (let nth = 0; nth < matches; nth += 1) hits.push({ number, offset, nth });
  }
}

async function gather(mine, from) {
  let at = from;
  while (at && hits.length < MOST_HITS) {
    const answer = await searchFor({ q: term, offset: at[0], line: at[1] });
    if (mine !== asked) return false;
    add(answer.hits);
    if (answer.partial && !isPartialSaid) toast({ text: "A part of this log is missing and was not searched.", kind: "info" });
    isPartialSaid = isPartialSaid || answer.partial;
    at = answer.next;
    end = answer.end;
    isWhole = !at;
    show();
  }
  return true;
}

async function search(wanted) {
  const mine = ++asked;
  clearTimeout(waiting);
  term = wanted;
  hits = [];
  current = -1;
  isWhole = !term;
  isBroken = false;
  isFromStart = true;
  end = null;
  keepInAddress();
  show();
  const view = topLine();
  const from = view ? Number(view.id.slice(1)) : 0;
  const offset = view?.dataset.at;
  await markTerm(term);
  if (!term || !(await gather(mine, [0, 1])) || !hits.length) return;
  let next = hits.findIndex((hit) => hit.number >= from);
  if (next < 0 && !isWhole) {
    hits = [];
    isFromStart = false;
    if (!(await gather(mine, [offset, from])) || !hits.length) return;
    next = 0;
  }
  await go(next < 0 ? hits.length - 1 : next, { onlyIfHidden: true });
}

/** Where no answer came, or none that could be used, that is said, unless another search has begun meanwhile. */
async function tell(work, isSearch = false) {
  const mine = asked;
  try {
    await work;
  } catch (error) {
    if (mine !== asked) return;
    isBroken = isBroken || isSearch;
    said.textContent = error instanceof Refused ? `Error ${error.status}` : "No answer";
  }
}

function keepInAddress() {
  const address = new URL(location.href);
  if (term) address.searchParams.set("q", term);
  else address.searchParams.delete("q");
  history.replaceState(history.state, "", address);
}

function marksOf(hit) {
  const line = document.getElementById(`L${hit.number}`);
  const marks = line ? [...line.querySelectorAll("mark")] : [];
  return marks[Math.min(hit.nth, marks.length - 1)];
}

function isInView(mark) {
  const place = mark.getBoundingClientRect();
  const frame = document.getElementById("log-scroll").getBoundingClientRect();
  const isAcross = place.left >= frame.left + 64 && place.right <= frame.right; // numbers of lines cover the left
  return isAcross && place.top >= frame.top && place.bottom <= frame.bottom - 40;
}

async function go(index, { onlyIfHidden = false } = {}) {
  current = (index + hits.length) % hits.length;
  show();
  const hit = hits[current];
  let mark = marksOf(hit);
  if (!mark || !onlyIfHidden || !isInView(mark)) {
    await toLine(hit.number, hit.offset);
    mark = marksOf(hit);
  }
  document.querySelector("#log-lines mark.is-current")?.classList.remove("is-current");
  mark?.classList.add("is-current");
  if (mark && !isInView(mark)) mark.scrollIntoView({ block: "nearest", inline: "center" });
}

const step = (by) => { if (hits.length) tell(go(current < 0 ? 0 : current + by)); };

let isGrowing = false;
document.addEventListener("log-grown", async () => {
  if (!term || !end || !isWhole || isGrowing || hits.length >= MOST_HITS) return;
  isGrowing = true;
  hits = hits.filter((hit) => hit.offset < end[0]);
  current = Math.min(current, hits.length - 1);
  await gather(asked, end).catch(() => {});
  show();
  isGrowing = false;
});

field.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => tell(search(field.value), true), WAIT_MS);
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && field.value) {
    field.value = "";
    tell(search(""), true);
    event.stopPropagation();
  } else if (event.key === "Enter" && event.shiftKey) {
    event.preventDefault();
    step(-1);
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value !== term || isBroken) tell(search(field.value), true);
  else step(1);
});
buttons[0].addEventListener("click", () => step(-1));
buttons[1].addEventListener("click", () => step(1));

const opener = document.getElementById("log-search-open");
opener.addEventListener("click", () => {
  const isOpen = form.classList.toggle("is-open");
  opener.setAttribute("aria-expanded", String(isOpen));
  if (isOpen) field.focus();
});

if (field.value) {
  form.classList.add("is-open");
  opener.setAttribute("aria-expanded", "true");
  tell(search(field.value), true);
}

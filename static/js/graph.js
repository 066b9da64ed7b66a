// The graph of a pipeline: zooming scales the drawing while its viewBox stays; finding dims all other steps.
// Both are kept over live updates. The bars of the steps over time grow with the clock.

import { durationText, everySecond, now } from "./live.js";

const STEPS = [0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5];
let zoom = null; // until somebody chooses: all of the graph, or its full size if that fits
let wanted = "";

const drawing = () => document.querySelector("[data-graph]");
const found = (box) => box.title.toLowerCase().includes(wanted);

function show() {
  const svg = drawing();
  if (!svg) return;
  const box = svg.viewBox.baseVal;
  const shown = size();
  svg.setAttribute("width", Math.floor(box.width * shown));
  svg.setAttribute("height", Math.floor(box.height * shown));
  document.querySelector("[data-graph-tools]").hidden = false;
  document.querySelector("[data-zoom-full]").textContent = `${Math.round(shown * 100)}%`;
  for (const each of svg.querySelectorAll(".graph-box")) each.classList.toggle("is-missed", !found(each));
}

function size() {
  if (zoom !== null) return zoom;
  const { width, height } = drawing().viewBox.baseVal;
  const canvas = drawing().closest(".graph-canvas"); // as high as it may get, whatever the drawing is now
  const room = parseFloat(getComputedStyle(canvas).maxHeight) || Infinity;
  return Math.max(0.1, Math.min(1, canvas.clientWidth / width, (room - 46) / height));
}

document.addEventListener("click", (event) => {
  const at = (name) => event.target.closest?.(`[data-zoom-${name}]`);
  if (at("in")) zoom = STEPS.find((step) => step > size() + 0.01) ?? size();
  else if (at("out")) zoom = STEPS.findLast((step) => step < size() - 0.01) ?? size();
  else if (at("full")) zoom = 1;
  else if (at("fit")) zoom = null;
  else return;
  show();
});

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-find]")) return;
  wanted = event.target.value.trim().toLowerCase();
  show();
  if (wanted) [...drawing().querySelectorAll(".graph-box")].find(found)?.scrollIntoView({ block: "nearest", inline: "nearest" });
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("[data-find]") || !wanted) return;
  [...drawing().querySelectorAll(".graph-box")].find(found)?.click();
});

document.addEventListener("htmx:after:settle", show);
addEventListener("resize", show);
show();

// Steps over time: places and labels by the rules of runs/views/graph.py.

const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

function tickText(seconds) {
  if (seconds === 0) return "0s";
  if (seconds >= 60 && seconds % 60 === 0 && seconds < 3600) return `${seconds / 60}m`;
  return seconds % 3600 === 0 ? `${seconds / 3600}h` : durationText(seconds);
}

function drawAxis(axis, length) {
  const every = Math.max(TICKS_S.find((tick) => length / tick <= 6) ?? TICKS_S.at(-1), Math.floor(length / 10));
  const n = Math.floor((length * 0.97) / every) + 1;
  while (axis.children.length > n) axis.lastChild.remove();
  for (let i = 0; i < n; i += 1) {
    const label = axis.children[i] ?? axis.appendChild(document.createElementNS(axis.namespaceURI, "text"));
    label.setAttribute("x", `${(100 * i * every) / length}%`);
    label.setAttribute("y", 13);
    label.textContent = tickText(i * every);
  }
}

function drawBar(bar, place) {
  const left = place(bar.dataset.from);
  const rect = bar.querySelector("rect");
  rect.setAttribute("x", `${left}%`);
  rect.setAttribute("width", `${Math.max(0.4, place(bar.dataset.to) - left)}%`);
  const wait = bar.querySelector("line");
  wait?.setAttribute("x1", `${place(bar.dataset.queued)}%`);
  wait?.setAttribute("x2", `${left}%`);
}

function grow() {
  const steps = document.querySelector("[data-steps-from]");
  if (!steps) return;
  const from = Date.parse(steps.dataset.stepsFrom);
  const length = Math.max(1000, now() - from);
  const place = (moment) => Math.min(100, Math.max(0, (100 * ((moment ? Date.parse(moment) : now()) - from)) / length));
  drawAxis(steps.querySelector("[data-steps-axis]"), length / 1000);
  for (const bar of steps.querySelectorAll("[data-from]")) drawBar(bar, place);
}

everySecond(grow);

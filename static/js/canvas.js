// The canvas of the submit page: step boxes, edges between them, dragging and zooming. It knows no form:
// what it shows is handed to `draw`, and what people do with it comes back through the handlers of `startCanvas`.

import { arranged, beside, curve, isArranged, ROOM, way, WIDTH } from "./layout.js";

const MARGIN = 16;
const SVG = "http://www.w3.org/2000/svg";
const ZOOMS = [0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5];

let on = {};
let steps = [];
let selected = null;
let zoom = 1;
let isMoved = false; // by hand, since the page was opened
let marked = null; // the edge that was clicked: {from, to}

const get = (id) => document.getElementById(id);
const byIndex = (index) => steps.find((step) => step.index === index);
const node = (index) => get("nodes").querySelector(`.node[data-step="${index}"]`);
const heightOf = (index) => node(index)?.offsetHeight || 132;
const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

const shapeOf = (some) => JSON.stringify(some.map((step) => [step.index, step.after]));

/**
 * Give a place to the steps that have none. As long as nobody has moved one, all stand in the order of the run, also
 * after a step or an edge came or went; later a new one goes beside the others. Whether any has moved by it.
 */
function place(before) {
  const placeless = steps.filter((step) => step.x === null || step.y === null);
  const isFirst = placeless.length === steps.length;
  const isOther = !isMoved && before.length > 0 && shapeOf(before) !== shapeOf(steps);
  if (isFirst || (isOther && isArranged(before))) {
    const canvas = get("canvas");
    const places = arranged(steps, { width: canvas.clientWidth / zoom, height: canvas.clientHeight / zoom });
    for (const step of steps) putTo(step, places.get(step.index));
    return true;
  }
  for (const step of placeless) {
    const placed = steps.filter((other) => other.x !== null);
    putTo(step, beside(placed.find((other) => other.index === selected) ?? placed.at(-1), placed));
  }
  return placeless.length > 0;
}

function putTo(step, { x, y }) {
  [step.x, step.y] = [Math.round(x), Math.round(y)];
  on.place(step.index, step.x, step.y);
}

/** An icon of the sprite, whose address is that of any icon on the page. */
function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  picture.setAttribute("class", "icon");
  use.setAttribute("href", document.querySelector("use").getAttribute("href").replace(/#.*/, `#${name}`));
  picture.append(use);
  return picture;
}

function boxOf(step) {
  const box = make("li", "node");
  box.dataset.step = step.index;
  const open = make("button", "node-open");
  open.type = "button";
  open.append(make("span", "node-title"), make("span", "node-rows"), make("span", "node-after"));
  open.firstElementChild.append(icon("file-code"), make("span", "cut"));
  box.append(open, make("span", "port port-in"), make("span", "port port-out"));
  return box;
}

function fill(box, step) {
  const open = box.firstElementChild;
  const [title, rows, after] = open.children;
  title.lastElementChild.textContent = title.lastElementChild.title = step.title;
  rows.replaceChildren(...["source", "script", "arguments", "target"].flatMap((label) => {
    const value = step[label];
    const known = value || { source: "none yet", script: "none yet", arguments: "none", target: "(default)" }[label];
    const shown = make("span", `node-value${value ? "" : " dim"}${"script arguments".includes(label) && value ? " mono" : ""}`, known);
    shown.title = value;
    return [make("span", "node-label", label), shown];
  }));
  const names = step.after.map((index) => byIndex(index)?.title).filter(Boolean);
  after.textContent = names.length ? `runs after ${names.join(" and ")}` : "starts at once";
  after.hidden = steps.length < 2;
  open.setAttribute("aria-pressed", String(step.index === selected));
  box.classList.toggle("is-selected", step.index === selected);
  box.classList.toggle("is-wrong", step.wrong);
  box.style.left = `${step.x}px`;
  box.style.top = `${step.y}px`;
}

/** Show these steps: [{index, title, source, script, arguments, target, after, x, y, wrong}]. */
export function draw(shown, chosen) {
  const before = steps;
  steps = shown;
  const hasPlaced = place(before);
  const isOther = chosen !== selected;
  selected = chosen;
  const list = get("nodes");
  const known = new Map([...list.children].map((box) => [box.dataset.step, box]));
  for (const step of steps) {
    const box = known.get(step.index) ?? list.appendChild(boxOf(step));
    known.delete(step.index);
    fill(box, step);
  }
  for (const gone of known.values()) gone.remove();
  drawEdges();
  if (hasPlaced || isOther) bringIntoSight(byIndex(selected));
}

/** Scroll as little as shows the whole of a box, beside the tools of the canvas. */
function bringIntoSight(step) {
  if (!step) return;
  const canvas = get("canvas");
  const nearest = (now, first, last) => Math.max(Math.min(now, first), last);
  canvas.scrollTo(
    nearest(canvas.scrollLeft, step.x * zoom - ROOM.side, (step.x + WIDTH) * zoom + MARGIN - canvas.clientWidth),
    nearest(canvas.scrollTop, step.y * zoom - ROOM.top, (step.y + heightOf(step.index)) * zoom + ROOM.bottom - canvas.clientHeight),
  );
}

function path(className, d) {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", className);
  element.setAttribute("d", d);
  return element;
}

function drawEdges() {
  const lines = [];
  const boxes = steps.map(({ index, x, y }) => ({ index, x, y, height: heightOf(index) }));
  for (const step of steps) {
    for (const from of step.after.map(byIndex).filter(Boolean)) {
      const [x1, y1] = [from.x + WIDTH + 6, from.y + heightOf(from.index) / 2];
      const [x2, y2] = [step.x - 6, step.y + heightOf(step.index) / 2];
      const isMarked = marked && marked.from === from.index && marked.to === step.index;
      const lit = isMarked || [step.index, from.index].includes(selected) ? " is-lit" : "";
      const others = boxes.filter(({ index }) => ![step.index, from.index].includes(index));
      const { d, x, y } = way(x1, y1, x2 - 6, y2, others);
      const hit = path("edge-hit", d);
      Object.assign(hit.dataset, { from: from.index, to: step.index });
      lines.push(path(`edge${lit}`, d), path(`edge-tip${lit}`, `M${x2} ${y2}l-9 -5v10z`), hit);
      if (isMarked) removal(x, y);
    }
  }
  if (!marked) get("edge-remove")?.remove();
  get("edges").replaceChildren(...lines);
  stretch();
}

function removal(x, y) {
  let button = get("edge-remove");
  if (!button) {
    button = Object.assign(make("button", "edge-remove", "×"), { type: "button", id: "edge-remove" });
    get("world").append(button);
  }
  button.setAttribute("aria-label", `${byIndex(marked.to).title} no longer runs after ${byIndex(marked.from).title}`);
  button.style.left = `${x - 11}px`;
  button.style.top = `${y - 11}px`;
}

function stretch() {
  const canvas = get("canvas");
  const right = Math.max(0, ...steps.map((step) => step.x + WIDTH + MARGIN));
  const bottom = Math.max(0, ...steps.map((step) => step.y + heightOf(step.index) + ROOM.bottom));
  const world = get("world");
  world.style.width = `${Math.max(right, canvas.clientWidth / zoom)}px`;
  world.style.height = `${Math.max(bottom, canvas.clientHeight / zoom)}px`;
  world.style.transform = zoom === 1 ? "" : `scale(${zoom})`;
  get("zoom").textContent = `${Math.round(zoom * 100)}%`;
}

function zoomTo(wanted) {
  const canvas = get("canvas");
  const middle = [(canvas.scrollLeft + canvas.clientWidth / 2) / zoom, (canvas.scrollTop + canvas.clientHeight / 2) / zoom];
  zoom = Math.min(ZOOMS.at(-1), Math.max(ZOOMS[0], wanted));
  stretch();
  canvas.scrollTo(middle[0] * zoom - canvas.clientWidth / 2, middle[1] * zoom - canvas.clientHeight / 2);
}

function zoomBy(way) {
  if (way === "one") return zoomTo(1);
  if (way === "in") return zoomTo(ZOOMS.find((z) => z > zoom + 0.01) ?? zoom);
  if (way === "out") return zoomTo(ZOOMS.findLast((z) => z < zoom - 0.01) ?? zoom);
  return fit();
}

/** Show all boxes, and nothing but them: those that stand far from the corner come to the middle of the canvas. */
function fit() {
  const { clientWidth: width, clientHeight: height } = get("canvas");
  const high = height - ROOM.top - ROOM.bottom;
  const [left, top] = [Math.min(...steps.map((step) => step.x)), Math.min(...steps.map((step) => step.y))];
  const across = Math.max(...steps.map((step) => step.x + WIDTH)) - left;
  const down = Math.max(...steps.map((step) => step.y + heightOf(step.index))) - top;
  zoomTo(Math.min(1, (width - 2 * ROOM.side) / across, high / down));
  const dx = Math.max(ROOM.side, (width / zoom - across) / 2) - left;
  const dy = (ROOM.top + Math.max(0, high - down * zoom) / 2.4) / zoom - top;
  for (const step of steps) {
    putTo(step, { x: step.x + dx, y: step.y + dy });
    fill(node(step.index), step);
  }
  drawEdges();
  get("canvas").scrollTo(0, 0);
}

/** Where on the world a pointer is. */
function spot(event) {
  const box = get("world").getBoundingClientRect();
  return [(event.clientX - box.left) / zoom, (event.clientY - box.top) / zoom];
}

function follow(event, { move, end }) {
  const cancel = new AbortController();
  const stop = (last) => { cancel.abort(); end(last); };
  addEventListener("pointermove", move, { signal: cancel.signal });
  addEventListener("pointerup", stop, { signal: cancel.signal });
  addEventListener("pointercancel", () => cancel.abort(), { signal: cancel.signal });
  event.preventDefault();
}

function dragBox(event, step) {
  const [x, y] = spot(event);
  const from = [step.x, step.y];
  let moved = false;
  follow(event, {
    move(now) {
      const [dx, dy] = spot(now).map((value, axis) => value - [x, y][axis]);
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true;
      moveTo(step.index, from[0] + dx, from[1] + dy);
    },
    end() {
      if (!moved) return;
      // The click that ends a drag is none; where none comes, the listener does not outlive this turn.
      const swallow = (click) => click.stopPropagation();
      addEventListener("click", swallow, { capture: true, once: true });
      setTimeout(() => removeEventListener("click", swallow, { capture: true }), 0);
    },
  });
  node(step.index).firstElementChild.focus({ preventScroll: true });
}

function moveTo(index, x, y) {
  isMoved = true;
  const step = byIndex(index); // of now: what is typed elsewhere may have drawn all anew since the drag began
  [step.x, step.y] = [Math.max(8, Math.round(x)), Math.max(8, Math.round(y))];
  on.move(step.index, step.x, step.y);
  fill(node(step.index), step);
  drawEdges();
}

function dragEdge(event, step, forward) {
  const line = path("edge is-lit is-drawn", "");
  get("edges").append(line);
  const start = [forward ? step.x + WIDTH : step.x, step.y + heightOf(step.index) / 2];
  const over = (now) => document.elementFromPoint(now.clientX, now.clientY)?.closest?.(".node");
  const light = (box) => get("nodes").querySelectorAll(".node").forEach((other) => {
    other.classList.toggle("is-aimed", other === box && other.dataset.step !== step.index);
  });
  follow(event, {
    move(now) {
      const [x, y] = spot(now);
      line.setAttribute("d", forward ? curve(...start, x, y) : curve(x, y, ...start));
      light(over(now));
    },
    end(now) {
      line.remove();
      light(null);
      const other = over(now)?.dataset.step;
      if (other && other !== step.index) on.connect(forward ? step.index : other, forward ? other : step.index);
    },
  });
}

function pan(event) {
  const canvas = get("canvas");
  const from = [event.clientX + canvas.scrollLeft, event.clientY + canvas.scrollTop];
  marked = null;
  drawEdges();
  follow(event, { move: (now) => canvas.scrollTo(from[0] - now.clientX, from[1] - now.clientY), end: () => {} });
}

function onPointerDown(event) {
  const canvas = event.target.closest?.("#canvas");
  if (!canvas || event.button !== 0 || matchMedia("(max-width: 767px)").matches) return;
  const box = event.target.closest(".node");
  const step = box && byIndex(box.dataset.step);
  if (event.target.closest(".port")) dragEdge(event, step, event.target.matches(".port-out"));
  else if (step) dragBox(event, step);
  else if (!event.target.closest("button, .edge-hit")) pan(event);
}

function onClick(event) {
  const at = (selector) => event.target.closest?.(selector);
  if (at("[data-zoom]")) return zoomBy(at("[data-zoom]").dataset.zoom);
  if (at("#edge-remove")) {
    const gone = marked;
    marked = null;
    return on.disconnect(gone.from, gone.to);
  }
  if (at(".edge-hit")) {
    marked = { from: at(".edge-hit").dataset.from, to: at(".edge-hit").dataset.to };
    return drawEdges();
  }
  if (at(".node-open")) {
    marked = null;
    on.select(at(".node").dataset.step, event.detail === 0);
  }
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  const step = event.target.matches?.(".node-open") && byIndex(event.target.parentElement.dataset.step);
  if (step && event.key in ARROWS && !matchMedia("(max-width: 767px)").matches) {
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key];
    moveTo(step.index, step.x + dx * 12, step.y + dy * 12);
  } else if (step && event.key === "Delete") {
    on.remove(step.index);
  } else if (event.key === "Escape" && marked) {
    marked = null;
    drawEdges();
  }
}

/** Listen once for what people do: handlers select(index, byKey), move, connect(from, to), disconnect, remove; place for what had no place. */
export function startCanvas(handlers) {
  on = handlers;
  document.addEventListener("pointerdown", onPointerDown);
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  document.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !event.target.closest?.("#canvas")) return;
    event.preventDefault();
    zoomTo(zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
  }, { passive: false });
  addEventListener("resize", () => steps.length && drawEdges());
}

// A chart of one or more lines, drawn by uPlot: raw and smoothed, with marks for what is not finite, values under
// the pointer, zoom by dragging and back by a double click. Colours come from the page, so a new theme draws anew.

import { durationText } from "./live.js";

const HUES = 6;
const all = new Set();
// Steps and entries are counted, so their ticks stand at whole numbers, however few there are.
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const grouping = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

// Numbers as number_text in runs/formats.py writes them.
export function numberText(value) {
  if (value === null || value === undefined) return "";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  const size = Math.abs(value);
  if (size < 1e15 && (Number.isInteger(value) || size >= 1e4)) return grouping.format(value);
  const text = String(Number(value.toPrecision(4)));
  return text.length > 9 ? value.toExponential(2).replace("e+", "e") : text;
}

export function floats(text) {
  return text ? new Float64Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer) : null;
}

// What the server says of a chart as a line; without steps, entries are counted.
export function lineOf(chart, looks) {
  const at = floats(chart.at), times = floats(chart.times), values = floats(chart.values);
  let steps = floats(chart.steps);
  if (steps?.some(Number.isNaN)) steps = null;
  const own = floats(chart.x);
  const x = own ?? (looks.byTime ? times.map((time) => time - times[0]) : (steps ?? at));
  let order = null;
  for (let i = 1; i < x.length; i++) if (x[i] < x[i - 1]) { order = [...x.keys()].sort((a, b) => x[a] - x[b] || a - b); break; }
  const sorted = (part) => (order ? order.map((place) => part[place]) : Array.from(part));
  return {
    x: sorted(x), y: sorted(values), at: sorted(at), isWhole: chart.is_whole,
    isTime: looks.byTime && !own, isCounted: !looks.byTime && !own, axis: own ? chart.x_column : looks.byTime ? "" : steps ? "step" : "entry",
  };
}

// As TensorBoard smooths: a moving average that does not start from zero.
function smoothed(values, weight) {
  let sum = 0, share = 1;
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    sum = sum * weight + (1 - weight) * value;
    share *= weight;
    return sum / (1 - share);
  });
}

const colour = (box, name) => {
  box.style.color = `var(${name})`;
  const found = getComputedStyle(box).color;
  box.style.color = "";
  return found;
};

function faded(rgb, alpha) {
  const numbers = rgb.match(/[\d.]+/g) ?? [0, 0, 0];
  return `rgba(${numbers.slice(0, 3).join(",")},${alpha})`;
}

export class Plot {
  // box: where it is drawn; zoomed(from, to): asked for finer values between two places of the first line, or all.
  constructor(box, { zoomed } = {}) {
    this.box = box;
    this.zoomed = zoomed;
    this.tip = Object.assign(document.createElement("div"), { className: "plot-tip", hidden: true });
    this.back = Object.assign(document.createElement("button"), { className: "btn btn-sm plot-back", type: "button", textContent: "Whole line", hidden: true });
    this.back.addEventListener("click", () => this.whole());
    this.size = new ResizeObserver(() => this.chart && this.chart.width !== box.clientWidth && this.draw());
    this.size.observe(box);
    all.add(this);
  }

  /** Let go of all of it; its box is left as it is. */
  remove() {
    this.size.disconnect();
    this.chart?.destroy();
    all.delete(this);
  }

  show(lines, looks) {
    this.lines = lines;
    this.looks = looks;
    this.draw();
  }

  draw() {
    if (!this.lines || !this.box.isConnected || !this.box.clientWidth) return;
    const kept = this.isZoomed ? { min: this.chart?.scales.x.min, max: this.chart?.scales.x.max } : null;
    this.chart?.destroy();
    this.chart = new uPlot(this.options(kept), this.data(), this.box);
    this.chart.over.append(this.tip, this.back);
    this.back.hidden = !this.isZoomed;
  }

  // Columns for uPlot: x, then each line's values (and smoothed ones): null is a gap, undefined nothing at that x.
  data() {
    const positive = (value) => (this.looks.byLog && value <= 0 ? null : value);
    const tables = this.lines.map(({ x, y }) => {
      const raw = y.map((value) => (Number.isFinite(value) ? positive(value) : null));
      const kept = this.looks.byLogX ? x.map((value) => (value > 0 ? value : 1e-9)) : x;
      return this.looks.smooth ? [kept, raw, smoothed(raw, this.looks.smooth)] : [kept, raw];
    });
    this.smooth = tables.map(([, , values]) => values);
    if (tables.length === 1) return tables[0];
    return uPlot.join(tables, tables.map((table) => table.map(() => 2)));
  }

  series() {
    return this.lines.flatMap((line, i) => {
      const ink = colour(this.box, `--series-${(i % HUES) + 1}`);
      const look = { stroke: ink, width: 1.6, points: { show: false }, spanGaps: this.lines.length > 1 };
      if (!this.looks.smooth) return [look];
      return [{ ...look, stroke: faded(ink, 0.22), width: 1 }, look];
    });
  }

  options(kept) {
    const { box, looks } = this;
    const isTime = this.lines[0]?.isTime;
    const incrs = this.lines[0]?.isCounted ? WHOLE : undefined;
    const ink = colour(box, "--t3"), grid = { stroke: colour(box, "--grid"), width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const numbers = (u, values) => values.map(numberText);
    const durations = (u, values) => values.map((value) => (value === null ? "" : spentText(value)));
    return {
      width: box.clientWidth, height: box.clientHeight, padding: [10, isTime ? 26 : 12, 0, 0], legend: { show: false },
      cursor: { drag: { x: true, y: false, dist: 6 }, points: { size: 7, width: 1.6, fill: colour(box, "--bg") }, y: false },
      scales: {
        x: { time: false, distr: looks.byLogX ? 3 : 1, range: kept ? [kept.min, kept.max] : undefined },
        y: looks.byLog ? { distr: 3 } : { range: (u, min, max) => spread(min, max) },
      },
      axes: [{ ...axis, values: isTime ? durations : numbers, size: 26, gap: 4, space: 64, grid: { show: false }, incrs }, { ...axis, values: numbers, size: labelRoom, gap: 6, space: 34 }],
      series: [{}, ...this.series()],
      hooks: { draw: [() => this.mark()], setCursor: [() => this.point()], setSelect: [() => this.zoom()] },
    };
  }

  // NaN and infinities stand at their place: at the foot, NaN and -Infinity; at the top, Infinity. A value between
  // two of them is a dot, because no line leads to it.
  mark() {
    const { ctx, bbox, scales } = this.chart;
    const size = 3.5 * devicePixelRatio;
    ctx.save();
    this.lines.forEach(({ x, y }, i) => {
      const odd = this.lines.length > 1 ? colour(this.box, `--series-${(i % HUES) + 1}`) : colour(this.box, "--red");
      ctx.lineWidth = 1.5 * devicePixelRatio;
      y.forEach((value, place) => {
        const at = x[place];
        if (at < scales.x.min || at > scales.x.max) return;
        if (Number.isFinite(value)) {
          if (!Number.isFinite(y[place - 1]) && !Number.isFinite(y[place + 1])) this.dot(ctx, at, value, i);
          return;
        }
        ctx.strokeStyle = ctx.fillStyle = odd;
        const left = this.chart.valToPos(at, "x", true);
        const top = value === Infinity ? bbox.top + 2 * size : bbox.top + bbox.height - 2 * size;
        ctx.beginPath();
        if (Number.isNaN(value)) {
          ctx.moveTo(left - size, top - size); ctx.lineTo(left + size, top + size);
          ctx.moveTo(left - size, top + size); ctx.lineTo(left + size, top - size);
          ctx.stroke();
        } else {
          const tip = value > 0 ? -size : size;
          ctx.moveTo(left, top + tip); ctx.lineTo(left - size, top - tip); ctx.lineTo(left + size, top - tip);
          ctx.fill();
        }
      });
      if (this.looks.isLive && y.length) this.dot(ctx, x.at(-1), y.at(-1), i);
    });
    ctx.restore();
  }

  dot(ctx, x, y, i) {
    if (!Number.isFinite(y) || x > this.chart.scales.x.max || (this.looks.byLog && y <= 0)) return;
    ctx.fillStyle = colour(this.box, `--series-${(i % HUES) + 1}`);
    ctx.beginPath();
    ctx.arc(this.chart.valToPos(x, "x", true), this.chart.valToPos(y, "y", true), 3 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
  }

  // The values under the pointer: of each line the one that is nearest, in the order of the lines; of a smoothed one
  // what is drawn, and beside it what was logged.
  point() {
    const { idx, left } = this.chart.cursor;
    this.tip.hidden = idx === null || idx === undefined || left < 0;
    if (this.tip.hidden) return;
    const at = this.chart.data[0][idx];
    const { isTime, axis } = this.lines[0];
    const rows = this.lines.map((line, i) => {
      const place = nearest(line.x, at);
      const row = document.createElement("div");
      const key = Object.assign(document.createElement("i"), { className: `series-${(i % HUES) + 1}` });
      const name = Object.assign(document.createElement("span"), { textContent: line.label ?? "" });
      const drawn = this.smooth[i]?.[place] ?? null;
      const value = Object.assign(document.createElement("b"), { textContent: numberText(drawn ?? line.y[place]) });
      const raw = Object.assign(document.createElement("small"), { textContent: `raw ${numberText(line.y[place])}` });
      row.append(...(this.lines.length > 1 ? [key] : []), name, value, ...(drawn === null ? [] : [raw]));
      return row;
    });
    const head = Object.assign(document.createElement("div"), { textContent: isTime ? spentText(at) : `${axis} ${numberText(at)}`, className: "plot-tip-head" });
    this.tip.replaceChildren(head, ...rows);
    const room = this.chart.over.clientWidth;
    const width = this.tip.offsetWidth;
    this.tip.style.left = `${left + 12 + width > room ? Math.max(0, left - 12 - width) : left + 12}px`;
  }

  zoom() {
    const { select } = this.chart;
    if (!(select.width > 0)) return;
    this.isZoomed = true;
    this.back.hidden = false;
    const line = this.lines[0];
    if (this.lines.length > 1 || line.isWhole || !this.zoomed) return;
    const [from, to] = [select.left, select.left + select.width].map((left) => this.chart.posToVal(left, "x"));
    const inside = line.at.filter((_, place) => line.x[place] >= from && line.x[place] <= to);
    const before = line.at.findLast((_, place) => line.x[place] < from) ?? 0;
    const after = line.at.find((_, place) => line.x[place] > to);
    this.zoomed(Math.min(before, ...inside), after === undefined ? null : Math.max(after, ...inside) + 1);
  }

  whole() {
    this.isZoomed = false;
    if (this.zoomed) this.zoomed(0, null);
    this.draw();
  }
}

function nearest(x, at) {
  let low = 0, high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - x[low - 1] <= x[low] - at ? low - 1 : low;
}

// The width of an axis at the left: that of its widest label, and for short ones what they have on all charts.
function labelRoom(u, labels, axis) {
  u.ctx.font = u.axes[axis].font[0];
  const widths = (labels ?? []).map((label) => u.ctx.measureText(label).width / devicePixelRatio);
  return Math.max(48, Math.ceil(Math.max(0, ...widths)) + 8);
}

// What stands still does not say "<1s" as what ticks.
const spentText = (seconds) => (seconds === 0 ? "0s" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : durationText(seconds));

// A little room above and below, and some for a line that does not move.
function spread(min, max) {
  if (min === null || max === null) return [0, 1];
  const room = (max - min) * 0.06 || Math.abs(max) * 0.1 || 1;
  return [Math.max(min >= 0 && min - room < 0 ? 0 : min - room, -Number.MAX_VALUE), Math.min(max + room, Number.MAX_VALUE)];
}

const again = () => { for (const plot of all) if (plot.box.isConnected) plot.draw(); else plot.remove(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
// On paper the page is light; its styles say so themselves, a canvas has to be drawn for it.
const paper = (isPaper) => { document.documentElement.style.colorScheme = isPaper ? "light" : ""; again(); };
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

// A chart of one or more lines, drawn by uPlot: raw and smoothed, with marks for what is not finite, values under
// the pointer, zoom by dragging and back by a double click. Colours come from the page, so a new theme draws anew.

import { axisOf, logReach, reach, roundStep, stretched, within } from "./axes.js";
import { TIMES, digitsFor, exactText, numberText, spentText, tickText } from "./numbers.js";

const HUES = 6;
const all = new Set();
// Steps and entries are counted, so their ticks stand at whole numbers, however few there are.
const wholeStep = (least) => roundStep(Math.max(1, least), [1, 2, 5]);
const timeStep = (least) => TIMES.find((step) => step >= least) ?? roundStep(least);

export function floats(text) {
  return text ? new Float64Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer) : null;
}

// What the server says of a chart as a line; without steps, entries are counted from 1 as tables do. Entries whose
// own x is not finite have no place on any axis.
export function lineOf(chart, looks) {
  const at = floats(chart.at), times = floats(chart.times), values = floats(chart.values);
  let steps = floats(chart.steps);
  if (steps?.some(Number.isNaN)) steps = null;
  const own = floats(chart.x);
  const x = own ?? (looks.byTime ? times.map((time) => time - times[0]) : (steps ?? at.map((place) => place + 1)));
  const order = [...x.keys()].filter((place) => Number.isFinite(x[place]));
  if (order.some((place, i) => x[place] < x[order[i - 1]])) order.sort((a, b) => x[a] - x[b] || a - b);
  const sorted = (part) => order.map((place) => part[place]);
  return {
    x: sorted(x), y: sorted(values), at: sorted(at), isWhole: chart.is_whole, astray: x.length - order.length,
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
    this.note = Object.assign(document.createElement("p"), { className: "plot-note", hidden: true });
    this.size = new ResizeObserver(() => this.chart && this.chart.width !== box.clientWidth && this.draw());
    this.size.observe(box);
    all.add(this);
  }

  /** Let go of all of it; its box is left as it is. */
  remove() {
    this.size.disconnect();
    this.chart?.destroy();
    this.note.remove();
    all.delete(this);
  }

  show(lines, looks) {
    this.looks = looks;
    this.lines = lines.map((line) => this.placed(line));
    this.draw();
  }

  // A line without the entries that its axis has no place for.
  placed(line) {
    const kept = [...line.x.keys()].filter((place) => !this.looks.byLogX || line.x[place] > 0);
    const [x, y, at] = [line.x, line.y, line.at].map((part) => kept.map((place) => part[place]));
    return { ...line, x, y, at, placeless: line.x.length - kept.length };
  }

  draw() {
    if (!this.lines || !this.box.isConnected || !this.box.clientWidth) return;
    const kept = this.isZoomed ? { min: this.chart?.scales.x.min, max: this.chart?.scales.x.max } : null;
    const { left = -1, top = -1 } = this.chart?.cursor ?? {};
    this.chart?.destroy();
    this.note.textContent = this.undrawn();
    this.note.hidden = !this.note.textContent;
    this.chart = new uPlot({ ...this.options(), hooks: this.hooks({ left, top }) }, this.data(), this.box);
    if (kept) this.chart.setScale("x", kept);
    this.chart.over.append(this.tip, this.back);
    this.box.append(this.note);
    this.back.hidden = !this.isZoomed;
  }

  isDrawn(value) {
    return Number.isFinite(value) && !(this.looks.byLog && value <= 0);
  }

  // What the axes have no place for; how many it is known of lines that came whole.
  undrawn() {
    const low = this.lines.flatMap(({ y }) => y.filter((value) => Number.isFinite(value) && !this.isDrawn(value))).length;
    const placeless = this.lines.reduce((sum, line) => sum + line.placeless, 0);
    const astray = this.lines.reduce((sum, line) => sum + line.astray, 0);
    const byLog = [...(low ? ["of"] : []), ...(placeless ? ["at"] : [])].join(" or ");
    const which = [...(byLog ? [`${byLog} 0 or less`] : []), ...(astray ? ["at NaN or Infinity"] : [])].join(" or ");
    if (!which) return "";
    if (!this.lines.every((line) => line.isWhole)) return `Values ${which} are not drawn`;
    const count = low + placeless + astray;
    return count === 1 ? `1 value ${which} is not drawn` : `${numberText(count)} values ${which} are not drawn`;
  }

  // Columns for uPlot: x, then each line's values (and smoothed ones): null is a gap, undefined nothing at that x.
  data() {
    const tables = this.lines.map(({ x, y }) => {
      const raw = y.map((value) => (this.isDrawn(value) ? within(value) : null));
      const places = x.map(within);
      return this.looks.smooth ? [places, raw, smoothed(raw, this.looks.smooth)] : [places, raw];
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

  options() {
    const { box } = this;
    const { isTime } = this.lines[0];
    const isLog = this.isByLog(), across = this.across();
    const ink = colour(box, "--t3"), grid = { stroke: colour(box, "--grid"), width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width: box.clientWidth, height: box.clientHeight, padding: [this.note.hidden ? 10 : 24, (u) => Math.max(isTime ? 26 : 12, widest(u, across.values(u, across.splits())) / 2), 0, 0], legend: { show: false },
      cursor: { drag: { x: true, y: false, dist: 6 }, points: { size: 7, width: 1.6, fill: colour(box, "--bg") }, y: false, bind: { dblclick: () => () => this.isZoomed && this.whole() } },
      scales: {
        x: { time: false, distr: this.looks.byLogX ? 3 : 1, range: (u, min, max) => this.acrossReach(u, min, max) },
        y: { distr: isLog ? 3 : 1, range: (u, min, max) => (min === null ? [isLog ? 0.1 : 0, 1] : (isLog ? logReach : reach)(min, max, 0.06)) },
      },
      axes: [{ ...axis, ...across, size: 26, gap: 4, grid: { show: false } }, { ...axis, ...axisOf({ isLog, stepOf: roundStep, write: tickText, spaceOf: () => 34 }), size: labelRoom, gap: 6 }],
      series: [{}, ...this.series()],
    };
  }

  acrossReach(u, min, max) {
    const { isTime, isCounted } = this.lines[0];
    if (min === null) return [null, null];
    if (u.data[0][0] === u.data[0].at(-1)) min = max = u.data[0][0]; // which uPlot has given some room already
    if (this.looks.byLogX) return min === max ? logReach(min, max, 0) : stretched(min, max, 0, 1e-11);
    if (min === max && !isCounted) return isTime ? [min, min + 1] : reach(min, max, 0);
    return stretched(min, max, isCounted ? 1 : isTime ? 1e-5 : 0);
  }

  across() {
    const { isTime, isCounted } = this.lines[0];
    const isLog = this.looks.byLogX;
    const spent = (value, step) => spentText(value, step || Math.min(1, value));
    return axisOf({
      isLog, stepOf: isTime ? timeStep : isCounted && !isLog ? wholeStep : roundStep, write: isTime ? spent : tickText,
      spaceOf: (u, texts) => Math.max(64, widest(u, texts) + 20),
    });
  }

  // Numbers of almost the same size lie on a log scale as on any other, which has more digits for them.
  isByLog() {
    if (!this.looks.byLog) return false;
    let least = Infinity, most = 0;
    for (const { y } of this.lines) for (const value of y) if (this.isDrawn(value)) [least, most] = [Math.min(least, value), Math.max(most, value)];
    return most > least * 1.001;
  }

  // A pointer that rests on a chart goes on pointing when it is drawn anew.
  hooks(pointer) {
    return {
      ready: [(u) => pointer.left >= 0 && u.setCursor(pointer)],
      draw: [() => this.mark()], setCursor: [() => this.point()], setSelect: [() => this.zoom()],
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
          if (!this.isDrawn(y[place - 1]) && !this.isDrawn(y[place + 1])) this.dot(ctx, at, value, i);
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
    if (!this.isDrawn(y) || x > this.chart.scales.x.max) return;
    ctx.fillStyle = colour(this.box, `--series-${(i % HUES) + 1}`);
    ctx.beginPath();
    ctx.arc(this.chart.valToPos(x, "x", true), this.chart.valToPos(within(y), "y", true), 3 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
  }

  // The values under the pointer: of each line the one that is nearest, in the order of the lines; of a smoothed one
  // what is drawn, and beside it what was logged, which has all its digits.
  point() {
    const { idx, left } = this.chart.cursor;
    this.tip.hidden = idx === null || idx === undefined || left < 0;
    if (this.tip.hidden) return;
    const at = this.chart.data[0][idx];
    const { isTime, axis } = this.lines[0];
    const { x, y } = this.chart.scales;
    const rows = this.lines.map((line, i) => {
      const place = nearest(line.x, at);
      const row = document.createElement("div");
      const key = Object.assign(document.createElement("i"), { className: `series-${(i % HUES) + 1}` });
      const name = Object.assign(document.createElement("span"), { textContent: line.label ?? "" });
      const drawn = this.smooth[i]?.[place] ?? null;
      const logged = exactText(line.y[place]);
      const said = drawn === null ? logged : numberText(drawn, digitsFor(drawn, (y.max - y.min) / 100));
      const value = Object.assign(document.createElement("b"), { textContent: said });
      const raw = Object.assign(document.createElement("small"), { textContent: `raw ${logged}` });
      row.append(...(this.lines.length > 1 ? [key] : []), name, value, ...(drawn === null ? [] : [raw]));
      return row;
    });
    const where = isTime ? spentText(at, fineness(x.max - x.min)) : `${axis} ${exactText(at)}`;
    const head = Object.assign(document.createElement("div"), { textContent: where, className: "plot-tip-head" });
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

function widest(u, texts) {
  if (!texts.length) return 0;
  u.ctx.font = u.axes[0].font[0]; // as uPlot has set it, which goes by the screen
  return Math.ceil(Math.max(0, ...texts.map((text) => u.ctx.measureText(text).width / devicePixelRatio)));
}

// The width of an axis at the left: that of its widest label, and for short ones what they have on all charts.
const labelRoom = (u, labels) => Math.max(48, widest(u, labels ?? []) + 8);

// How exactly a place on an axis of seconds is said: a power of ten, down to what clocks tell and up to a second.
const fineness = (span) => Math.min(1, Math.max(1e-6, 10 ** Math.floor(Math.log10(span / 500))));

const again = () => { for (const plot of all) if (plot.box.isConnected) plot.draw(); else plot.remove(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
// On paper the page is light; its styles say so themselves, a canvas has to be drawn for it.
const paper = (isPaper) => { document.documentElement.style.colorScheme = isPaper ? "light" : ""; again(); };
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

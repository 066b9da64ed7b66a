// The charts of a run's metrics: asked for when they come into sight, several at once, and again when more was
// logged. How they are drawn stands in the address.

import { heard } from "./live.js";
import { Plot, lineOf } from "./plot.js";

const MOST_AT_ONCE = 24;
const plots = new Map(); // box → { plot, chart, count, isSeen }
const waiting = new Set();
let asking = false;

const root = () => document.querySelector("[data-charts]");
const looked = () => document.querySelector("[data-looks]");

function looks() {
  const find = (name) => looked()?.querySelector(name);
  return {
    byTime: find("#look-time")?.checked ?? false,
    byLog: find("#look-log")?.checked ?? false,
    byLogX: find("#look-logx")?.checked ?? false,
    smooth: Number(find("#look-smooth")?.value ?? 0) / 100,
    isLive: root()?.hasAttribute("data-live") ?? false,
  };
}

function draw(box) {
  const known = plots.get(box);
  if (!known?.chart) return;
  known.plot ??= new Plot(box, { zoomed: (from, to) => zoomed(box, from, to) });
  known.plot.show([lineOf(known.chart, looks())], looks());
}

async function get(path, query) {
  const answer = await fetch(`${path}?${query}`, { headers: { Accept: "application/json" } });
  heard(answer.status);
  return answer.ok ? answer.json() : null;
}

// Finer values of a part that somebody looks at closely. An answer that came late, or not at all, changes nothing.
async function zoomed(box, from, to) {
  const known = plots.get(box);
  const asked = (known.asked = {});
  const query = new URLSearchParams({ name: box.dataset.plot, width: box.clientWidth || 300, from });
  if (to !== null) query.set("to", to);
  query.set("column", known.chart.column);
  query.set("x", known.chart.x_column);
  try {
    const chart = await get(root().dataset.charts.replace(/charts$/, "chart"), query);
    if (!chart || plots.get(box)?.asked !== asked) return;
    known.chart = chart;
    draw(box);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // no connection: what is drawn stays
  }
}

async function ask() {
  if (asking) return;
  asking = true;
  try {
    while (waiting.size) {
      const boxes = [...waiting].slice(0, MOST_AT_ONCE);
      const query = new URLSearchParams();
      for (const box of boxes) {
        waiting.delete(box);
        query.append("name", box.dataset.plot);
        query.append("count", plots.get(box)?.chart?.count ?? -1);
        query.append("column", box.dataset.column);
      }
      const widest = Math.max(...boxes.map((box) => box.clientWidth || 300));
      query.set("width", Math.min(2000, Math.max(100, widest)));
      const found = await get(root().dataset.charts, query);
      const byName = new Map((found?.items ?? []).map((chart) => [chart.name, chart]));
      for (const box of boxes) {
        const known = plots.get(box);
        if (!known || !byName.has(box.dataset.plot)) continue;
        known.chart = byName.get(box.dataset.plot);
        draw(box);
      }
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // no connection: the next change of the page asks again
  } finally {
    asking = false;
  }
}

function want(box) {
  const known = plots.get(box);
  if (!known?.isSeen || known.plot?.isZoomed) return;
  if (known.chart?.count === Number(box.dataset.count)) return;
  waiting.add(box);
  queueMicrotask(ask);
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const known = plots.get(target);
    if (!known) continue;
    known.isSeen = isIntersecting;
    want(target);
  }
}, { rootMargin: "300px" });

function look() {
  for (const [box, { plot }] of plots) {
    if (box.isConnected) continue;
    seen.unobserve(box);
    plot?.remove();
    plots.delete(box);
  }
  for (const box of document.querySelectorAll("[data-plot]")) {
    const known = plots.get(box);
    const what = `${box.dataset.plot} ${box.dataset.column}`;
    if (known && known.what !== what) Object.assign(known, { what, chart: null });
    if (!known) {
      plots.set(box, { what, isSeen: false });
      seen.observe(box);
    }
    want(box);
  }
}

// The looks go into the address of this page, of its live part, its links and its search, so that they are kept and
// shared.

function keep() {
  const { byTime, byLog, byLogX, smooth } = looks();
  const written = { x: byTime ? "time" : "", log: byLog ? "1" : "", logx: byLogX ? "1" : "", smooth: smooth ? String(Math.round(smooth * 100)) : "" };
  const changed = (address) => {
    const url = new URL(address, location.href);
    for (const [key, value] of Object.entries(written)) if (value) url.searchParams.set(key, value); else url.searchParams.delete(key);
    return url.pathname + url.search + url.hash;
  };
  history.replaceState(history.state, "", changed(location.href));
  const part = root();
  if (part?.hasAttribute("hx-get")) part.setAttribute("hx-get", changed(part.getAttribute("hx-get")));
  for (const link of part?.querySelectorAll("a[href]:not([download])") ?? []) link.setAttribute("href", changed(link.href));
  const search = part?.querySelector(".metric-search");
  for (const field of search?.querySelectorAll("input[type=hidden]") ?? []) if (field.name in written) field.remove();
  const chosen = Object.entries(written).filter(([, value]) => value);
  search?.prepend(...chosen.map(([name, value]) => Object.assign(document.createElement("input"), { type: "hidden", name, value })));
}

let soon = 0;
document.addEventListener("input", (event) => {
  if (!event.target.closest?.("[data-looks]")) return;
  const said = looked().querySelector("output");
  if (said) said.textContent = `${looked().querySelector("#look-smooth").value} %`;
  cancelAnimationFrame(soon);
  soon = requestAnimationFrame(() => {
    keep();
    for (const [box, known] of plots) if (known.isSeen) { if (known.plot) known.plot.isZoomed = false; draw(box); }
  });
});

// On paper the charts stand that were drawn; how many are missing is said above them.
function missing() {
  const count = [...plots.keys()].filter((box) => box.isConnected && !box.querySelector("canvas")).length;
  if (!count) return;
  const said = count === 1 ? "1 chart is left out: nobody has looked at it yet." : `${count} charts are left out: nobody has looked at them yet.`;
  root()?.querySelector(".metric-cards")?.before(Object.assign(document.createElement("p"), { className: "left-out", textContent: said }));
}

addEventListener("beforeprint", missing);
addEventListener("afterprint", () => document.querySelector(".left-out")?.remove());
document.addEventListener("htmx:after:settle", look);
look();

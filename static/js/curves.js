// The curves of a metric over the newest runs on an experiment's page. What draws them is fetched when the chart
// comes into sight, so that the page itself stays light.

import { heard } from "./live.js";

let drawing = null; // { Plot, lineOf }, once it is here
let plot = null;
let shown = "";
const box = () => document.querySelector("[data-curves]");

function load(element, address) {
  return new Promise((done, failed) => {
    element.addEventListener("load", done);
    element.addEventListener("error", failed);
    if (element instanceof HTMLLinkElement) Object.assign(element, { rel: "stylesheet", href: address });
    else element.src = address;
    document.head.append(element);
  });
}

async function tools(place) {
  const styles = place.dataset.styles.split(" ").map((address) => load(document.createElement("link"), address));
  await Promise.all([load(document.createElement("script"), place.dataset.uplot), ...styles]);
  return import("./plot.js");
}

async function draw() {
  const place = box();
  if (!place) return;
  const wanted = `${place.dataset.curve} ${place.dataset.version}`;
  if (shown === wanted && plot?.box === place) return;
  shown = wanted;
  const query = new URLSearchParams({ name: place.dataset.curve, runs: 5, width: Math.min(1000, Math.max(100, place.clientWidth)) });
  try {
    drawing ??= tools(place);
    const { Plot, lineOf } = await drawing;
    const answer = await fetch(`${place.dataset.curves}?${query}`, { headers: { Accept: "application/json" } });
    if (!heard(answer.status) || !answer.ok || !place.isConnected) return;
    const { items } = await answer.json();
    const looks = { byTime: false, byLog: false, byLogX: false, smooth: 0, isLive: false };
    const labels = new Map([...document.querySelectorAll("[data-curve-runs] [data-run]")].map((row) => [row.dataset.run, row.dataset.label]));
    const lines = items.map((chart) => ({ ...lineOf(chart, looks), label: labels.get(chart.run_id) ?? "" })).filter((line) => line.x.length);
    if (plot?.box !== place) {
      plot?.remove();
      plot = new Plot(place);
    }
    if (lines.length) plot.show(lines, looks);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // no connection: the next change of the page asks again
    shown = "";
  }
}

const seen = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) draw(); });
let watched = null;

function look() {
  const place = box();
  if (!place) return;
  if (watched !== place) {
    if (watched) seen.unobserve(watched);
    watched = place;
    seen.observe(place);
  } else if (plot) draw();
}

document.addEventListener("htmx:after:settle", look);
look();

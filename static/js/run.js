// The bar of a timeline stays true to scale while its last part grows.

import { everySecond, now } from "./live.js";

function scale() {
  for (const bar of document.querySelectorAll("[data-timeline]:has([data-growing])")) {
    const parts = [...bar.children];
    const from = parts.map((part) => Date.parse(part.dataset.from));
    const end = Math.max(now(), from.at(-1)); // what the browser takes for the server's time may be behind
    const all = end - from[0];
    if (!(all > 0)) continue;
    parts.forEach((part, i) => part.setAttribute("width", `${(100 * ((from[i + 1] ?? end) - from[i])) / all}%`));
  }
}

everySecond(scale);

// The bar of a timeline stays true to scale while its last part grows.

const meta = document.querySelector('meta[name="server-time"]')?.content;
const offset = meta ? Date.parse(meta) - Date.now() : 0;

function scale() {
  for (const bar of document.querySelectorAll("[data-timeline]")) {
    const parts = [...bar.children];
    if (!bar.querySelector("[data-growing]")) continue;
    const from = parts.map((part) => Date.parse(part.dataset.from));
    const end = Date.now() + offset;
    const all = end - from[0];
    if (!(all > 0)) continue;
    parts.forEach((part, i) => part.setAttribute("width", `${(100 * ((from[i + 1] ?? end) - from[i])) / all}%`));
  }
}

setInterval(() => { if (!document.hidden) scale(); }, 5000);

// The graph of a pipeline: zooming scales the drawing while its viewBox stays; finding dims all other steps.
// Both are kept over live updates.

const STEPS = [0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5];
let zoom = 1;
let wanted = "";

const drawing = () => document.querySelector("[data-graph]");
const found = (box) => box.title.toLowerCase().includes(wanted);

function show() {
  const svg = drawing();
  if (!svg) return;
  const box = svg.viewBox.baseVal;
  svg.setAttribute("width", Math.round(box.width * zoom));
  svg.setAttribute("height", Math.round(box.height * zoom));
  document.querySelector("[data-graph-tools]").hidden = false;
  document.querySelector("[data-zoom-full]").textContent = `${Math.round(zoom * 100)}%`;
  for (const each of svg.querySelectorAll(".graph-box")) each.classList.toggle("is-missed", !found(each));
}

function fit() {
  const { clientWidth, clientHeight } = drawing().parentElement;
  const { width, height } = drawing().viewBox.baseVal;
  return Math.max(0.2, Math.min(1, clientWidth / width, (clientHeight - 46) / height));
}

document.addEventListener("click", (event) => {
  const at = (name) => event.target.closest?.(`[data-zoom-${name}]`);
  if (at("in")) zoom = STEPS.find((step) => step > zoom + 0.01) ?? zoom;
  else if (at("out")) zoom = STEPS.findLast((step) => step < zoom - 0.01) ?? zoom;
  else if (at("full")) zoom = 1;
  else if (at("fit")) zoom = fit();
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
show();

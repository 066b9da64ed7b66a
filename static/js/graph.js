// Zooming the graph of a pipeline: the drawing's size is scaled, its viewBox stays. Kept over live updates.

const STEPS = [0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5];
let zoom = 1;

const drawing = () => document.querySelector("[data-graph]");

function show() {
  const svg = drawing();
  if (!svg) return;
  const box = svg.viewBox.baseVal;
  svg.setAttribute("width", Math.round(box.width * zoom));
  svg.setAttribute("height", Math.round(box.height * zoom));
  const tools = document.querySelector("[data-zoom]");
  tools.hidden = false;
  tools.querySelector("[data-zoom-full]").textContent = `${Math.round(zoom * 100)}%`;
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

document.addEventListener("htmx:after:settle", show);
show();

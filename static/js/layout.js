// Where boxes of the canvas stand, and which way an edge takes between them. It knows no page: steps come as
// {index, after, x, y, height}, places go back as numbers.

export const WIDTH = 228;
const COLUMN = 290;
const ROW = 164;
// The tools of the canvas lie over its corners, above and below the boxes.
export const ROOM = { side: 20, top: 72, bottom: 72 };
const AROUND = 16; // how far beside a box an edge passes it

const byIndex = (steps) => new Map(steps.map((step) => [step.index, step]));
const mean = (numbers) => numbers.reduce((sum, one) => sum + one, 0) / (numbers.length || 1);

/** The order of columns: each step right of all that it runs after. Steps in a circle count as first. */
function depths(steps) {
  const all = byIndex(steps);
  const found = new Map();
  const depth = (step, seen) => {
    if (found.has(step.index)) return found.get(step.index);
    if (seen.has(step.index)) return 0;
    seen.add(step.index);
    const before = step.after.map((index) => all.get(index)).filter(Boolean);
    const own = before.length ? 1 + Math.max(...before.map((other) => depth(other, seen))) : 0;
    found.set(step.index, own);
    return own;
  };
  steps.forEach((step) => depth(step, new Set()));
  return found;
}

/** A place for each step, by its index: columns in the order of the run, in the middle of a room of this size. */
export function arranged(steps, { width, height } = { width: 0, height: 0 }) {
  const sparse = []; // where steps run in a circle
  const depth = depths(steps);
  for (const step of steps) (sparse[depth.get(step.index)] ??= []).push(step);
  const columns = sparse.filter(Boolean);
  const tallest = Math.max(...columns.map((column) => column.length));
  const left = Math.max(ROOM.side, (width - columns.length * COLUMN + COLUMN - WIDTH) / 2);
  const top = Math.max(ROOM.top, (height - tallest * ROW) / 2.4);
  const places = new Map();
  columns.forEach((column, at) => {
    const above = (step) => mean(step.after.filter((index) => places.has(index)).map((index) => places.get(index).y));
    if (at) column.sort((one, other) => above(one) - above(other));
    column.forEach((step, row) => places.set(step.index, {
      x: Math.round(left + at * COLUMN),
      y: Math.round(top + (row + (tallest - column.length) / 2) * ROW),
    }));
  });
  return places;
}

/** Whether they stand as `arranged` puts them, wherever the first of them is: nobody has moved one by itself. */
export function isArranged(steps) {
  const places = arranged(steps);
  const [dx, dy] = [steps[0].x - places.get(steps[0].index).x, steps[0].y - places.get(steps[0].index).y];
  return steps.every((step) => {
    const place = places.get(step.index);
    return Math.abs(step.x - place.x - dx) <= 2 && Math.abs(step.y - place.y - dy) <= 2;
  });
}

/** A free place right of another step, among those that have one. */
export function beside(from, placed) {
  let [x, y] = [from.x + COLUMN, from.y];
  const taken = () => placed.some((other) => Math.abs(other.x - x) < WIDTH && Math.abs(other.y - y) < ROW - 20);
  while (taken()) y += ROW;
  return { x, y };
}

const bendOf = (x1, x2) => Math.max(36, Math.abs(x2 - x1) / 2);
const bow = (x1, y1, x2, y2) => `C${x1 + bendOf(x1, x2)} ${y1} ${x2 - bendOf(x1, x2)} ${y2} ${x2} ${y2}`;

/** A curve from one point to another, as the path of an SVG. */
export const curve = (x1, y1, x2, y2) => `M${x1} ${y1}${bow(x1, y1, x2, y2)}`;

const within = (box, x, y, margin) => x > box.x - margin && x < box.x + WIDTH + margin
  && y > box.y - margin && y < box.y + box.height + margin;

/** Whether a curve between two points runs behind a box. */
function hides(box, x1, y1, x2, y2) {
  const bend = bendOf(x1, x2);
  for (let t = 0; t <= 1; t += 0.025) {
    const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t ** 2 * (1 - t), t ** 3];
    if (within(box, a * x1 + b * (x1 + bend) + c * (x2 - bend) + d * x2, (a + b) * y1 + (c + d) * y2, 4)) return true;
  }
  return false;
}

/** The way from one point to another past these boxes: {d, x, y}, its SVG path and a point in its middle. */
export function way(x1, y1, x2, y2, boxes) {
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const behind = boxes.filter((box) => hides(box, x1, y1, x2, y2));
  const left = Math.min(...behind.map((box) => box.x)) - AROUND;
  const right = Math.max(...behind.map((box) => box.x + WIDTH)) + AROUND;
  const near = boxes.filter((box) => box.x < right && box.x + WIDTH > left);
  const isFree = (lane) => lane > 0 && !near.some((box) => lane > box.y - AROUND / 2 && lane < box.y + box.height + AROUND / 2);
  const lanes = near.flatMap((box) => [box.y - AROUND, box.y + box.height + AROUND]).filter(isFree);
  if (!lanes.length || left < x1 || right > x2) return { d: curve(x1, y1, x2, y2), x, y };
  const lane = lanes.reduce((best, one) => (Math.abs(one - y) < Math.abs(best - y) ? one : best));
  return { d: `${curve(x1, y1, left, lane)}H${right}${bow(right, lane, x2, y2)}`, x: (left + right) / 2, y: lane };
}

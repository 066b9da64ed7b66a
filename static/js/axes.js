// Axes of charts: how far they reach, and which round numbers stand at them. runs/axes.py does the same for charts
// that come drawn.

import { digitsOf } from "./numbers.js";

// An axis is at least so wide, as a share of its numbers and at all: below, few numbers of a few digits are left that
// a double can hold. On a log scale it is the logarithms that have to differ.
const NARROWEST = 2e-14, NARROWEST_LOG = 1e-11, LEAST = 1e-300;
// Ticks are at least so far apart, as a share of what they stand for.
const FINEST = 4e-15;
// As far as an axis reaches; from its one end to the other there is a number, too.
const MOST = Number.MAX_VALUE / 2;

const sizeOf = (min, max) => Math.max(Math.abs(min), Math.abs(max));
export const within = (value) => Math.max(-MOST, Math.min(MOST, value));

// From the least to the greatest number, with a share of that as room on both sides, and around a line that is flat.
export function reach(min, max, share, narrowest = NARROWEST) {
  const size = sizeOf(min, max), wide = max - min;
  const flat = size > 10 * LEAST ? size * 0.1 : 1;
  const room = wide > Math.max(size * narrowest, LEAST) ? wide * share : flat;
  return [within(min >= 0 && min - room < 0 ? 0 : min - room), within(max + room)];
}

// As `reach` for a log scale.
export function logReach(min, max, share) {
  if (max < 10 * min) {
    const [least, most] = reach(min, max, share, NARROWEST_LOG);
    return [least || min, most];
  }
  const [least, most] = [Math.log10(min), Math.log10(max)];
  const room = (most - least) * share;
  return [Math.max(Number.MIN_VALUE, 10 ** (least - room)), within(10 ** (most + room))];
}

// A part of an axis that is at least so wide; who looks more closely sees what is around it.
export function stretched(min, max, least, narrowest = NARROWEST) {
  const missing = Math.max(least, sizeOf(min, max) * narrowest, LEAST) - (max - min);
  return missing > 0 ? [min - missing / 2, max + missing / 2] : [min, max];
}

// The least of these digits with a power of ten that is no less.
export function roundStep(least, digits = [1, 2, 2.5, 5]) {
  const power = Math.floor(Math.log10(least));
  return [...digits, 10].map((digit) => Number(`${digit}e${power}`)).find((step) => step >= least * 0.999);
}

// The multiples of a step. They are counted, because a sum may not grow by what is added; and they are read from
// decimal digits, so that they have no others.
export function ticks(min, max, step) {
  const [digits, power] = digitsOf(step);
  const found = [], last = Math.floor(max / step + 1e-9);
  for (let count = Math.ceil(min / step - 1e-9); count <= last; count++) found.push(Number(`${count * digits}e${power - digits.length + 1}`));
  return found;
}

// How many powers of ten an axis has at most for each of its ticks if all of these parts of them are to have room.
const PARTS = [[0.24, [1, 2, 3, 5, 7]], [0.46, [1, 2, 5]], [Infinity, [1]]];

// Round numbers of a log scale: parts of each power of ten, or every so many powers, where at most so many have room.
function logTicks(min, max, most) {
  const powers = Math.log10(max) - Math.log10(min), every = Math.ceil(powers / most);
  const [, parts] = PARTS.find(([few]) => powers <= few * most);
  const found = [];
  for (let power = Math.floor(Math.log10(min) / every) * every; power <= Math.log10(max); power += every) {
    found.push(...parts.map((part) => Number(`${part}e${power}`)));
  }
  return found.filter((tick) => tick >= min && tick <= max);
}

// What uPlot asks of an axis. stepOf(least): a round step of at least that much; write(number, step): its text, with a
// step of 0 where each has its own; spaceOf(u, texts): pixels between ticks that have such texts.
export function axisOf({ isLog, stepOf, write, spaceOf }) {
  let step = 0, found = [];
  const stepFor = (min, max, share) => {
    const wide = isLog ? -Math.expm1(Math.log1p((min - max) / max) * share) * max : (max - min) * share; // at the upper end
    return stepOf(Math.max(wide, sizeOf(min, max) * FINEST));
  };
  const place = (min, max, share) => {
    const isWide = isLog && max > 3 * min;
    step = isWide ? 0 : stepFor(min, max, share);
    found = isWide ? logTicks(min, max, Math.max(1, 1 / share)) : ticks(min, max, step);
  };
  return {
    // uPlot knows steps of some sizes only, and may never come to an end with them: it gets one that it cannot use.
    incrs: (u, axis, min, max, size) => {
      place(min, max, spaceOf(u, []) / size);
      place(min, max, spaceOf(u, found.map((tick) => write(tick, step))) / size);
      return [Infinity];
    },
    splits: () => found,
    filter: (u, splits) => splits,
    values: (u, splits) => splits.map((tick) => write(tick, step)),
  };
}

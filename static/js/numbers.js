// How numbers and times stand on charts: short, all digits, or as many as tell neighbours apart.

import { durationText } from "./live.js";

// The shortest digits that are this number again, and the power of ten of the first: "125" and -2 for 0.0125.
export function digitsOf(value) {
  const [digits, power] = Math.abs(value).toExponential().split("e");
  return [digits.replace(".", ""), Number(power)];
}

const powerOf = (value) => digitsOf(value)[1];

// Digits with a point after the first `count`, and groups of thousands.
function pointed(digits, count) {
  const whole = digits.slice(0, count).replace(/\B(?=(\d{3})+$)/g, ",");
  return digits.length > count ? `${whole}.${digits.slice(count)}` : whole;
}

// Numbers as number_text in runs/formats.py writes them, letter for letter: tests/number_texts.py holds both to it.
export function numberText(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return String(value);
  let [text, power] = digitsOf(value);
  const kept = power < 16 ? Math.max(digits, power + 1) : digits;
  if (text.length > kept) {
    const rounded = String(BigInt(text.slice(0, kept)) + (text[kept] < "5" ? 0n : 1n));
    power += rounded.length - kept;
    text = rounded.replace(/0+$/, "");
  }
  const sign = value < 0 ? "-" : "";
  if (power < -4 || power >= 16) {
    return `${sign}${pointed(text, 1)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const zeros = "0".repeat(Math.max(0, -power));
  return sign + pointed(zeros + text.padEnd(power + 1, "0"), Math.max(0, power) + 1);
}

// All digits: the shortest text that is this number again.
export const exactText = (value) => numberText(value, 17);

// So many digits that two numbers a `step` apart look different; steps may be of two digits, such as 2.5.
export const digitsFor = (value, step) => (step ? Math.min(17, Math.max(4, powerOf(value) - powerOf(step) + 2)) : 4);

// Ticks as tick_text in runs/formats.py writes them.
export const tickText = (value, step) => numberText(value, digitsFor(value, step));

// Distances of ticks on an axis of seconds.
const TENS = [1, 2, 5];
export const TIMES = [
  ...[6, 5, 4, 3, 2, 1].flatMap((power) => TENS.map((digit) => Number(`${digit}e-${power}`))),
  ...[1, 60].flatMap((unit) => [1, 2, 5, 10, 15, 30].map((few) => few * unit)),
  ...[1, 2, 3, 6, 12].map((few) => few * 3600),
  ...[1, 10, 100, 1000, 10000].flatMap((many) => TENS.map((digit) => digit * many * 86400)),
];

// A time that has been spent, with as much of it as tells it from one a `step` away.
export function spentText(seconds, step) {
  if (seconds === 0) return "0s"; // what stands still does not say "<1s" as what ticks
  if (seconds < 1) return `${tickText(seconds * 1000, step * 1000)} ms`;
  const decimals = step < 1 ? -powerOf(step) : 0;
  const rounded = Number(seconds.toFixed(decimals));
  const least = rounded < 3600 ? 1 : rounded < 86400 ? 60 : 3600; // the unit that durationText ends with
  if (!decimals && step % least === 0) return durationText(rounded);
  const whole = Math.floor(rounded);
  const units = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "m"]];
  if (step % 60) units.push([(rounded % 60).toFixed(decimals), "s"]);
  const first = units.findIndex(([count]) => Number(count) > 0);
  const wide = (count) => count.padStart(count.includes(".") ? decimals + 3 : 2, "0");
  return units.slice(first).map(([count, unit], place) => `${place ? wide(String(count)) : count}${unit}`).join(" ");
}

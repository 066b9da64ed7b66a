// The source of a step: it is sent to the server as it is chosen, which keeps it as a snapshot and answers
// with what it became. Once kept, a file is not sent again.

import { heard, token } from "./live.js";
import { toast } from "./shell.js";

const LEFT_OUT = new Set([".git", "__pycache__", "__MACOSX", ".DS_Store"]);
const pending = new Set();
const UPLOADS = ["folder", "zip", "file"];

/** The source itself cannot be taken: sending it once more would change nothing. */
class Refused extends Error {}

const field = (step, name) => step.querySelector(`[name="steps-${step.dataset.step}-${name}"]`);
export const sourceOf = (step) => step.querySelector('.source input[type="radio"]:checked')?.value ?? "";
const kept = (step) => step.querySelector(".kept");

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** Show what is kept only where it belongs to the chosen kind of source. */
export function showKept(step) {
  const box = kept(step);
  const fits = box.dataset.kept === sourceOf(step) && "words" in box.dataset;
  box.classList.toggle("is-other", !fits);
  for (const pick of step.querySelectorAll(".pick")) {
    const span = pick.firstElementChild;
    span.dataset.first ??= span.textContent === "Replace" ? { folder: "Choose a folder", zip: "Choose a zip or tar", file: "Choose a file" }[pick.dataset.for] : span.textContent;
    span.textContent = fits ? "Replace" : span.dataset.first;
  }
}

/** What a box says of the source, or "" while there is none. */
export function sourceWords(step) {
  const box = kept(step);
  return box.dataset.kept === sourceOf(step) ? box.dataset.words ?? "" : "";
}

/** Whether the chosen source was refused as it was chosen, and nothing was chosen in its place. */
export const isSourceRefused = (step) => "refused" in step.dataset && step.dataset.refused === sourceOf(step);

function say(step, text, kind = "secondary") {
  const box = kept(step);
  box.querySelector("[data-said]")?.remove();
  if (!text) return;
  const line = Object.assign(document.createElement("p"), { className: kind, textContent: text });
  line.dataset.said = "";
  line.setAttribute("role", kind === "error" ? "alert" : "status");
  box.append(line);
}

function body(step, source, most) {
  const data = new FormData();
  const name = (end) => `steps-${step.dataset.step}-${end}`;
  data.set("csrfmiddlewaretoken", token() ?? document.querySelector("#submit-form [name=csrfmiddlewaretoken]").value);
  data.set("index", step.dataset.step);
  data.set(name("source"), source);
  if (UPLOADS.includes(source)) {
    const files = [...field(step, source).files].filter((file) => !(file.webkitRelativePath || file.name).split("/").some((part) => LEFT_OUT.has(part)));
    if (!files.length) return null;
    if (files.length > most) throw new Refused(`This folder has ${files.length.toLocaleString("en")} files. Take only the folder with your code, without environments and data.`);
    files.forEach((file) => data.append(name(source), file));
    if (source === "folder") data.set(name("paths"), JSON.stringify(files.map((file) => file.webkitRelativePath || file.name)));
    return data;
  }
  const fields = { paste: ["pasted", "pasted_name"], run: ["from_run"], example: ["example"] }[source];
  if (!field(step, fields[0]).value.trim()) return null;
  fields.forEach((end) => data.set(name(end), field(step, end).value));
  return data;
}

function send(url, data, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded, event.total));
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new Error("The server could not be reached. Choose the source again.")));
    request.open("POST", url);
    request.setRequestHeader("HX-Request", "true");
    request.setRequestHeader("HX-Current-URL", location.href);
    request.send(data);
  });
}

/** Fill in what the source runs; what people typed themselves stays, if the source has it. */
function offer(step, part, before, source) {
  const [script, args] = [field(step, "script"), field(step, "arguments")];
  const isOffered = (input, word) => !input.value.trim() || input.value === (before[word] ?? "");
  const paths = [...part.querySelectorAll("datalist option")].map((option) => option.value);
  if (!paths.includes(script.value) || (source === "example" && isOffered(script, "script"))) script.value = part.dataset.script ?? "";
  if (isOffered(args, "arguments")) args.value = part.dataset.arguments ?? "";
}

/** Forget an example that is chosen no more, and take away what it brought and nobody changed. */
function drop(step) {
  const box = kept(step);
  if (box.dataset.kept !== "example") return;
  for (const word of ["script", "arguments"]) if (field(step, word).value === box.dataset[word]) field(step, word).value = "";
  for (const input of box.querySelectorAll("input")) input.value = "";
  box.querySelectorAll("details, p, option").forEach((one) => one.remove());
  for (const word of ["words", "script", "arguments"]) delete box.dataset[word];
  box.dataset.kept = "";
}

/** Take the answer: the part that says what the source became, or what was wrong with it. */
function receive(step, request, source) {
  const answer = new DOMParser().parseFromString(request.responseText, "text/html");
  const part = answer.querySelector(".kept");
  heard(request.status);
  if (request.status === 401) throw new Error("You were signed out. Sign in in another tab, then choose the source again.");
  if (request.status === 200 && part) {
    const before = kept(step).dataset;
    kept(step).replaceWith(part);
    offer(step, part, before, source);
    if (UPLOADS.includes(source)) field(step, source).value = "";
    return null;
  }
  const said = answer.querySelector("[data-source-error] span, [data-error]")?.textContent.trim();
  if ([400, 413, 422].includes(request.status) && said) throw new Refused(said);
  throw new Error(said || `The server answered ${request.status}. Nothing was kept.`);
}

async function take(step, changed) {
  const form = document.getElementById("submit-form");
  const source = sourceOf(step);
  step.querySelector("[data-source-error]")?.remove();
  say(step, "");
  delete step.dataset.refused;
  try {
    const data = body(step, source, Number(form.dataset.mostFiles));
    if (!data && source === "example") drop(step);
    if (!data) return;
    say(step, "Taking it…");
    const uploading = (sent, total) => say(step, sent < total ? `${size(sent)} of ${size(total)} sent` : "Sent, being unpacked…");
    receive(step, await send(form.dataset.upload, data, uploading), source);
    say(step, "");
  } catch (error) {
    if (!step.isConnected) return;
    say(step, error.message, "error");
    if (error instanceof Refused && UPLOADS.includes(source)) {
      step.dataset.refused = source;
      field(step, source).value = ""; // or it would be sent whole with the form
    }
    if (!step.classList.contains("is-selected")) toast({ text: error.message, kind: "error" });
  } finally {
    changed(step);
  }
}

/** Wait until nothing is on its way to the server. */
export async function settled() {
  await Promise.all([...pending]);
}

const TAKES = /-(folder|zip|file|pasted|pasted_name|from_run|example)$/;

/** Listen once; `changed(step)` is called whenever a step's source is another. */
export function startSources(changed) {
  document.addEventListener("change", (event) => {
    const step = event.target.closest?.("#steps .step");
    if (!step) return;
    if (event.target.matches('.source input[type="radio"]')) changed(step);
    if (!TAKES.test(event.target.name)) return;
    const taking = take(step, changed);
    pending.add(taking);
    taking.finally(() => pending.delete(taking));
  });
}

// Tags as chips: the text area stays what is sent, one tag a line; this shows its lines and adds to them.

const area = () => document.querySelector("[data-tags] textarea");
const lines = () => area().value.split("\n").map((line) => line.trim()).filter(Boolean);

function write(tags) {
  area().value = [...new Set(tags)].join("\n");
  draw();
}

const isolated = (text) => Object.assign(document.createElement("bdi"), { textContent: text });

function chip(text) {
  const [key, ...value] = text.split("=");
  const box = Object.assign(document.createElement("span"), { className: "tag tag-lg" });
  const words = Object.assign(document.createElement("span"), { className: "tag-text" });
  const name = Object.assign(document.createElement("span"), { className: "tag-key" });
  if (value.length) name.append(isolated(key), "=");
  words.append(name, isolated(value.length ? value.join("=") : key));
  const remove = Object.assign(document.createElement("button"), { className: "tag-remove", type: "button", textContent: "×" });
  remove.setAttribute("aria-label", `Remove tag ${text}`);
  remove.addEventListener("click", () => {
    write(lines().filter((line) => line !== text));
    entry().focus();
  });
  box.append(words, remove);
  return box;
}

const entry = () => document.querySelector(".tags-box .tags-entry");

function draw() {
  const box = document.querySelector(".tags-box");
  box.querySelectorAll(".tag").forEach((old) => old.remove());
  entry().before(...lines().map(chip));
}

function take() {
  const text = entry().value.trim();
  if (!text) return false;
  entry().value = "";
  write([...lines(), text]);
  return true;
}

/** Put the chips over the text area of the form that is on the page. */
export function startTags() {
  const box = Object.assign(document.createElement("div"), { className: "tags-box" });
  const input = Object.assign(document.createElement("input"), { className: "tags-entry", id: "tags-entry", placeholder: "key or key=value", autocomplete: "off" });
  input.setAttribute("aria-invalid", String(area().getAttribute("aria-invalid") === "true"));
  input.maxLength = 5200;
  box.append(input);
  area().hidden = true;
  area().before(box);
  document.querySelector("[data-tags] label").htmlFor = "tags-entry";
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && input.value.trim()) {
      event.preventDefault();
      take();
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
    } else if (event.key === "Backspace" && !input.value) {
      write(lines().slice(0, -1));
    } else if (event.key === "Enter") {
      take();
    }
  });
  input.addEventListener("blur", take);
  box.addEventListener("click", (event) => event.target === box && input.focus());
  draw();
}

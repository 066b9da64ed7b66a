// The tags of a row in a table: as many as fit, whole, and "+n" for the rest. The server guesses what fits.

const GAP = 4;

function lists() {
  const rests = [...document.querySelectorAll(".table .tags > [data-tags]")];
  return rests.map((rest) => ({ rest, box: rest.parentElement, tags: [...rest.parentElement.querySelectorAll(".tag")] }))
    .filter(({ box }) => box.offsetParent);
}

function fitting(room, widths, more, isAll) {
  let used = widths[0];
  for (let at = 1; at < widths.length; at += 1) {
    const last = isAll && at === widths.length - 1;
    used += GAP + widths[at];
    if (used > room - (last ? 0 : GAP + more)) return at;
  }
  return widths.length;
}

/** All are shown to be measured at once: the browser lays the table out one time, not a time for each row. */
function fit() {
  const found = lists();
  for (const { rest, box, tags } of found) {
    box.classList.add("is-measured");
    for (const one of [...tags, rest]) one.hidden = false;
    rest.textContent = `+${rest.dataset.tags}`;
  }
  const sizes = found.map(({ rest, box, tags }) => {
    const isAll = tags.length === Number(rest.dataset.tags);
    return fitting(box.clientWidth, tags.map((tag) => tag.offsetWidth), rest.offsetWidth, isAll);
  });
  found.forEach(({ rest, box, tags }, at) => {
    const hidden = Number(rest.dataset.tags) - sizes[at];
    box.classList.remove("is-measured");
    tags.forEach((tag, place) => { tag.hidden = place >= sizes[at]; });
    rest.hidden = !hidden;
    rest.textContent = `+${hidden}`;
  });
}

document.addEventListener("htmx:after:swap", fit);
addEventListener("resize", fit);
fit();

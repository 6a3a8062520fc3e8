// Draws the charts, filters trials in charts and tables alike, sorts the ranking, and follows a run.
"use strict";
const payload = JSON.parse(document.getElementById("payload").textContent);
const views = new Map();
const refreshing = new Map();

const drawn = Object.entries(payload.specs).map(async ([id, spec]) => {
  const datasets = {};
  JSON.stringify(spec, (key, value) => {
    if (key === "data" && value && value.name) datasets[value.name] = payload.datasets[value.name];
    return value;
  });
  const element = document.getElementById(id);
  const result = await vegaEmbed(element, { ...spec, datasets }, { renderer: "svg", config: payload.config, actions: false });
  element.querySelector("svg").setAttribute("aria-hidden", "true"); // its figure says what it shows
  views.set(id, result.view);
  refreshing.set(id, equip(element, result.view));
});

const query = document.getElementById("query");
const rows = [...document.querySelectorAll("tr[data-trial]")];
const states = [...new Set(rows.map((row) => row.dataset.state))];
const boxes = states.map((state) => {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: state });
  label.append(box, " " + state.replaceAll("_", " "));
  document.getElementById("states").append(label, " ");
  return box;
});

function filter() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  const known = new Map();
  for (const article of document.querySelectorAll("article")) {
    const shown = new Set();
    const ranking = article.querySelectorAll("[id$='-ranking'] tr[data-trial]");
    for (const row of ranking) {
      const cells = row.textContent.toLowerCase();
      if (wanted.has(row.dataset.state) && words.every((word) => cells.includes(word))) shown.add(row.dataset.trial);
    }
    for (const row of article.querySelectorAll("tr[data-trial]")) row.hidden = !shown.has(row.dataset.trial);
    known.set(article.id, { shown, all: ranking.length });
  }
  const total = [...known.values()].reduce((sum, each) => sum + each.shown.size, 0);
  const all = [...known.values()].reduce((sum, each) => sum + each.all, 0);
  document.getElementById("count").value = `${total} of ${all} trials`;
  for (const [id, view] of views) {
    const { shown, all } = known.get(id.split("-")[0]);
    const value = shown.size === all ? null : [...shown];
    if ("shown" in view.getState({ signals: (name) => name === "shown", data: () => false }).signals) view.signal("shown", value).runAsync().then(refreshing.get(id));
  }
}

function sort(button) {
  const heading = button.closest("th");
  const place = [...heading.parentNode.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = heading.closest("table").tBodies[0];
  const key = (row) => row.cells[place].textContent.trim();
  const number = (text) => parseFloat(text.replaceAll(",", ""));
  const compare = (a, b) => {
    if ((a === "-") !== (b === "-")) return a === "-" ? 1 : -1;
    const [one, other] = [number(a), number(b)];
    const order = Number.isNaN(one) || Number.isNaN(other) ? a.localeCompare(b, "en", { numeric: true }) : one - other;
    return down ? -order : order;
  };
  body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
}

async function follow() {
  const status = document.getElementById("following");
  let version = null;
  for (;;) {
    try {
      const answer = await (await fetch("version", { cache: "no-store" })).text();
      if (version !== null && answer !== version) return location.reload();
      version = answer;
      status.textContent = "follows the run";
    } catch {
      status.textContent = "the command that follows the run has ended";
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
query.addEventListener("input", filter);
for (const box of boxes) box.addEventListener("change", filter);
for (const button of document.querySelectorAll(".sort")) button.addEventListener("click", () => sort(button));
Promise.all(drawn).then(() => {
  document.documentElement.dataset.drawn = String(views.size);
  if (rows.length) filter();
  else document.getElementById("filter").hidden = true;
});
if (payload.follow) follow();

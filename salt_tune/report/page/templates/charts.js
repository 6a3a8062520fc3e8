// What a chart does beside being drawn: it is walked through by keyboard, shown as a table, and saved as a picture.
"use strict";
const MOST_ROWS = 1000; // of a table below a chart

// The marks that say something when they are pointed at, in the order of their data.
function marks(view) {
  const found = [];
  const walk = (item) => {
    if (item.tooltip && typeof item.tooltip === "object") found.push(item);
    for (const each of item.items ?? []) walk(each);
  };
  walk(view.scenegraph().root);
  return found;
}

const inWords = (told) => Object.entries(told).map(([name, value]) => `${name} ${value}`).join(", ");

// Arrow keys do what a mouse does: the chart is told that its marks are pointed at.
class Walk {
  constructor(element, view) {
    this.element = element;
    this.view = view;
    this.place = -1;
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("blur", () => this.leave());
  }

  key(event) {
    const all = marks(this.view);
    const to = { ArrowRight: this.place + 1, ArrowDown: this.place + 1, ArrowLeft: this.place - 1, ArrowUp: this.place - 1, Home: 0, End: all.length - 1 }[event.key];
    if (event.key === "Escape") return this.leave();
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey || !all.length) return;
    event.preventDefault();
    this.leave(Math.min(Math.max(to, 0), all.length - 1));
    const item = all[this.place];
    this.mark = item._svg;
    this.mark.classList.add("pointed");
    for (const kind of ["pointerover", "pointermove"]) this.send(kind);
    document.getElementById("said").textContent = `${this.place + 1} of ${all.length}: ${inWords(item.tooltip)}`;
  }

  leave(place = -1) {
    if (this.mark) {
      this.mark.classList.remove("pointed");
      for (const kind of ["pointerout", "mouseout"]) this.send(kind); // Vega hides what it says at the second
    }
    this.mark = null;
    this.place = place;
  }

  send(kind) {
    const { left, top, width, height } = this.mark.getBoundingClientRect();
    const at = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, pointerType: "mouse" };
    this.mark.dispatchEvent(new PointerEvent(kind, at));
  }
}

// One table for each kind of mark: trials, and baselines beside them.
function tables(view, title) {
  const kinds = new Map();
  for (const { tooltip } of marks(view)) {
    const names = Object.keys(tooltip);
    const key = JSON.stringify(names);
    if (!kinds.has(key)) kinds.set(key, { names, rows: new Map() });
    kinds.get(key).rows.set(JSON.stringify(tooltip), Object.values(tooltip));
  }
  return [...kinds.values()].sort((a, b) => b.rows.size - a.rows.size).map(({ names, rows }) => {
    const box = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", title);
    const table = document.createElement("table");
    const left = rows.size - MOST_ROWS;
    table.createCaption().textContent = left > 0 ? `The first ${MOST_ROWS} of ${rows.size} rows: filter trials to see others` : title;
    const heading = table.createTHead().insertRow();
    const body = table.createTBody();
    const cell = (row, kind, text, scope) => {
      const made = Object.assign(document.createElement(kind), { textContent: text });
      if (scope) made.scope = scope;
      if (/^[-+\u2212]?[\d.,]+(e[-+\u2212]?\d+)?%?$/.test(text)) made.className = "number";
      row.append(made);
    };
    for (const name of names) cell(heading, "th", name, "col");
    for (const values of [...rows.values()].slice(0, MOST_ROWS)) {
      const row = body.insertRow();
      values.forEach((value, place) => cell(row, place ? "td" : "th", String(value), place ? "" : "row"));
    }
    box.append(table);
    return box;
  });
}

// The chart as a file of its own: in the page's light colours, on white, with its title inside.
function picture(element, title) {
  const svg = element.querySelector("svg").cloneNode(true);
  svg.removeAttribute("aria-hidden");
  svg.prepend(Object.assign(document.createElementNS(svg.namespaceURI, "title"), { textContent: title }));
  const paper = document.createElementNS(svg.namespaceURI, "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", "var(--paper)"]]) paper.setAttribute(name, value);
  svg.firstChild.after(paper);
  const light = document.body.appendChild(Object.assign(document.createElement("i"), { className: "light", hidden: true }));
  const colours = getComputedStyle(light);
  const text = new XMLSerializer().serializeToString(svg).replace(/var\((--\w+)\)/g, (_, name) => colours.getPropertyValue(name).trim());
  light.remove();
  return text;
}

async function bitmap(text, scale) {
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: scale * image.width, height: scale * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function save(element, title, kind) {
  const text = picture(element, title);
  const blob = kind === "svg" ? new Blob([text], { type: "image/svg+xml" }) : await bitmap(text, 3);
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${element.id}.${kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Gives a chart that is drawn its keys, table and buttons; returns what refreshes an open table.
function equip(element, view) {
  const figure = element.closest("figure");
  const title = figure.querySelector("figcaption").textContent;
  const details = figure.querySelector("details.data");
  const fill = () => {
    while (details.children.length > 1) details.lastChild.remove();
    if (details.open) details.append(...tables(view, title));
  };
  new Walk(element, view);
  details.addEventListener("toggle", fill);
  for (const button of figure.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(element, title, button.dataset.save));
  return fill;
}

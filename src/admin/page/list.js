// A list of any length of which only the rows in sight exist, and that the keyboard walks through.

import { h, id } from "./dom.js";

// Rows beyond the edges, so that a quick scroll shows no gap.
const MORE = 12;

// `label`: for screen readers. `columns`: the heads. `height`: of a row, wide and narrow, in pixels. `cells(item, index)`: what a row
// shows, an element for each column. `mark(item, index)`: further classes. `chosen(item, index)`: Enter or a click.
// `nearEnd()`: the rows that there are may soon not be enough.
export class WindowedList {
  constructor({ label, columns, className, height, cells, mark, chosen, nearEnd }) {
    Object.assign(this, { cells, mark, chosen, nearEnd, heights: height });
    this.items = [];
    this.rows = new Map();
    this.active = -1;
    this.prefix = id("row");
    this.narrow = matchMedia("(max-width: 720px)");
    const head = h("div", { class: "row head", role: "row", "aria-rowindex": "1" },
      columns.map((column) => h("span", { role: "columnheader", text: column })));
    this.body = h("div", { class: "rows", role: "rowgroup" });
    this.element = h("div", {
      class: `list ${className}`, role: "grid", tabindex: "0", "aria-label": label, "aria-rowcount": "1",
      on: { keydown: (event) => this.key(event), click: (event) => this.click(event) },
    }, h("div", { role: "rowgroup", class: "heads" }, head), this.body);
    this.element.addEventListener("scroll", () => this.plan(), { passive: true });
    this.resized = new ResizeObserver(() => this.plan());
    this.resized.observe(this.element);
    this.turned = () => this.layout();
    this.narrow.addEventListener("change", this.turned);
    this.layout();
  }

  // Lets go of what outlives the element.
  close() {
    this.resized.disconnect();
    this.narrow.removeEventListener("change", this.turned);
  }

  // Other items in place of those that are there; the scroll stays.
  show(items, isAll = true) {
    this.items = items;
    this.element.setAttribute("aria-rowcount", isAll ? String(items.length + 1) : "-1");
    if (this.active >= items.length) this.active = -1;
    this.layout();
  }

  get isAtTop() {
    return this.element.scrollTop < 4;
  }

  toTop() {
    this.element.scrollTop = 0;
    this.refresh();
  }

  // Makes the rows anew.
  refresh() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.draw();
  }

  layout() {
    this.height = this.narrow.matches ? this.heights[1] : this.heights[0];
    this.body.style.setProperty("height", `${this.items.length * this.height}px`);
    this.refresh();
  }

  plan() {
    if (this.planned) return;
    this.planned = requestAnimationFrame(() => {
      this.planned = 0;
      this.draw();
    });
  }

  draw() {
    const top = this.element.scrollTop;
    const first = Math.max(0, Math.floor(top / this.height) - MORE);
    const last = Math.min(this.items.length, Math.ceil((top + this.element.clientHeight) / this.height) + MORE);
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) {
        row.remove();
        this.rows.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      if (!this.rows.has(index)) this.add(index);
    }
    if (last > this.items.length - 4 * MORE) this.nearEnd?.();
  }

  add(index) {
    const item = this.items[index];
    const classes = ["row", this.mark?.(item, index), index === this.active && "active"].filter(Boolean).join(" ");
    const row = h("div", {
      class: classes, role: "row", id: `${this.prefix}-${index}`, "aria-rowindex": String(index + 2),
      "aria-selected": String(index === this.active), "data-index": String(index),
      style: { transform: `translateY(${index * this.height}px)`, height: `${this.height}px` },
    }, this.cells(item, index));
    this.rows.set(index, row);
    // In the order of the list, for those who read the rows one by one.
    let next = null;
    for (let at = index + 1; at <= index + 4 * MORE && !next; at += 1) next = this.rows.get(at) ?? null;
    this.body.insertBefore(row, next);
  }

  // The row that the keyboard is at.
  activate(index, scrolls = true) {
    const before = this.active;
    this.active = Math.max(0, Math.min(index, this.items.length - 1));
    if (this.items.length === 0) this.active = -1;
    if (scrolls) this.reveal(this.active);
    for (const at of [before, this.active]) {
      const row = this.rows.get(at);
      row?.classList.toggle("active", at === this.active);
      row?.setAttribute("aria-selected", String(at === this.active));
    }
    if (this.active >= 0) this.element.setAttribute("aria-activedescendant", `${this.prefix}-${this.active}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  reveal(index) {
    const head = this.body.offsetTop;
    const [top, bottom] = [index * this.height, (index + 1) * this.height];
    const room = this.element.clientHeight - head;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (bottom > this.element.scrollTop + room) this.element.scrollTop = bottom - room;
    this.draw();
  }

  key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.activate(Math.max(-1, this.active) + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.active >= 0) this.chosen?.(this.items[this.active], this.active);
    else return;
    event.preventDefault();
  }

  click(event) {
    const row = event.target.closest("[data-index]");
    if (!row || event.target.closest("a, button")) return;
    this.activate(Number(row.dataset.index), false);
    this.chosen?.(this.items[this.active], this.active);
  }
}

/** A grid of images that draws only what is seen, whatever the number of images. */

import { thumb } from "./api.js";
import { el } from "./dom.js";

const SIDE = 112, AHEAD = 2;
let grids = 0;

export class Grid {
  /**
   * @param {object} options `label`; `selection`, a Set of rows that is shared; `opened(row)`;
   *   `changed()` after the selection changed; `pixel`, whether images are tiny.
   */
  constructor({ label, selection, opened, changed, pixel }) {
    Object.assign(this, { selection, opened, changed, pixel });
    this.rows = [];
    this.here = 0;
    this.anchor = 0;
    this.cells = new Map();
    this.id = `grid${grids += 1}`;
    this.space = el("div.space", { role: "presentation" });
    this.node = el("div.grid", {
      role: "listbox", tabindex: 0, "aria-label": label, "aria-multiselectable": "true",
      onscroll: () => this.draw(), onkeydown: (event) => this.key(event),
    }, this.space);
    this.space.addEventListener("click", (event) => this.click(event));
    this.space.addEventListener("dblclick", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) this.opened(Number(cell.dataset.row));
    });
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.node);
  }

  show(rows) {
    this.rows = rows;
    this.here = Math.min(this.here, Math.max(0, rows.length - 1));
    this.place = new Map(rows.map((row, index) => [row, index]));
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.layout();
  }

  close() { this.observer.disconnect(); }

  layout() {
    const width = this.space.clientWidth || this.node.clientWidth;
    if (!width) return;
    this.columns = Math.max(2, Math.floor(width / SIDE));
    this.side = width / this.columns;
    this.space.style.height = `${Math.ceil(this.rows.length / this.columns) * this.side + 96}px`;
    for (const [index, cell] of this.cells) this.put(cell, index);
    this.draw();
  }

  put(cell, index) {
    cell.style.width = cell.style.height = `${this.side}px`;
    cell.style.left = `${(index % this.columns) * this.side}px`;
    cell.style.top = `${Math.floor(index / this.columns) * this.side}px`;
  }

  draw() {
    if (!this.columns) return;
    const first = Math.floor(this.node.scrollTop / this.side) - AHEAD;
    const last = Math.ceil((this.node.scrollTop + this.node.clientHeight) / this.side) + AHEAD;
    const from = Math.max(0, first * this.columns);
    const to = Math.min(this.rows.length, last * this.columns);
    for (const [index, cell] of this.cells) {
      if (index < from || index >= to) { cell.remove(); this.cells.delete(index); }
    }
    for (let index = from; index < to; index += 1) {
      if (!this.cells.has(index)) this.cells.set(index, this.made(index));
    }
    this.mark();
  }

  made(index) {
    const row = this.rows[index];
    const cell = el(this.pixel ? "div.cell.pixel" : "div.cell", {
      role: "option", id: `${this.id}-${row}`, "data-row": row, "aria-label": `Image ${row}`,
      "aria-posinset": index + 1, "aria-setsize": this.rows.length,
    }, el("img", { src: thumb(row), alt: "", draggable: "false" }));
    this.put(cell, index);
    this.space.append(cell);
    return cell;
  }

  mark() {
    for (const [index, cell] of this.cells) {
      cell.setAttribute("aria-selected", this.selection.has(this.rows[index]));
      cell.classList.toggle("here", index === this.here && document.activeElement === this.node);
    }
    const at = this.cells.get(this.here);
    if (at) this.node.setAttribute("aria-activedescendant", at.id);
    else this.node.removeAttribute("aria-activedescendant");
  }

  click(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const index = this.place.get(Number(cell.dataset.row));
    this.node.focus({ preventScroll: true });
    this.here = index;
    if (event.shiftKey) this.range(this.anchor, index);
    else { this.anchor = index; this.toggle(this.rows[index]); }
  }

  toggle(row) {
    if (!this.selection.delete(row)) this.selection.add(row);
    this.mark();
    this.changed();
  }

  range(from, to) {
    const [low, high] = from < to ? [from, to] : [to, from];
    for (let index = low; index <= high; index += 1) this.selection.add(this.rows[index]);
    this.mark();
    this.changed();
  }

  all() { if (this.rows.length) this.range(0, this.rows.length - 1); }

  go(index, extend) {
    const next = Math.max(0, Math.min(this.rows.length - 1, index));
    if (extend) this.range(this.here, next);
    this.here = next;
    if (!extend) this.anchor = next;
    const top = Math.floor(next / this.columns) * this.side;
    const { scrollTop, clientHeight } = this.node;
    if (top < scrollTop) this.node.scrollTop = top;
    if (top + this.side > scrollTop + clientHeight) this.node.scrollTop = top + this.side - clientHeight;
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.rows.length) return;
    const page = Math.max(1, Math.floor(this.node.clientHeight / this.side)) * this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page, Home: -this.rows.length, End: this.rows.length,
    };
    if (event.key in steps) this.go(this.here + steps[event.key], event.shiftKey);
    else if (event.key === " ") this.toggle(this.rows[this.here]);
    else if (event.key === "Enter") this.opened(this.rows[this.here]);
    else if (event.key === "a") this.all();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

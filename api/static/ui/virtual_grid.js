// A grid of any number of cells. Only cells near the screen exist.

import { el } from "../dom.js";

/** @typedef {{element: HTMLElement, update: () => void, close: () => void}} Cell */

/** Rows kept above and below the screen. */
const MARGIN = 2;

/**
 * Shows cells at least `minWidth(count)` pixels wide, and `ratio` times as high plus `extra` pixels. `make(index)` returns
 * `{element, update, close}`; the element holds one link, which gets the focus when arrow keys reach the cell.
 * `onRange(first, last)` gets the range of cells that exist.
 */
export class VirtualGrid {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {string} options.hint the id of an element that describes it
   * @param {(count: number) => number} options.minWidth
   * @param {number} options.ratio
   * @param {number} options.extra
   * @param {number} options.gap
   * @param {(index: number) => Cell} options.make
   * @param {(first: number, last: number) => void} options.onRange
   */
  constructor({ label, hint, minWidth, ratio, extra, gap, make, onRange }) {
    this.shape = { minWidth, ratio, extra, gap };
    this.make = make;
    this.onRange = onRange;
    this.count = 0;
    this.current = 0;
    // The layout is known once the grid is on the page.
    this.columns = 2;
    this.cellWidth = 0;
    this.rowHeight = 1;
    /** @type {Map<number, Cell>} */
    this.cells = new Map();
    /** @type {number | null} */
    this.frame = null;
    this.element = el("ul", { class: "grid", role: "list", "aria-label": label, "aria-describedby": hint });
    this.element.addEventListener("keydown", (event) => this.#move(event));
    this.element.addEventListener("focusin", (event) => this.#remember(event.target));
    this.layout = () => this.#layout();
    this.soon = () => { this.frame ??= requestAnimationFrame(this.layout); };
    window.addEventListener("scroll", this.soon, { passive: true });
    this.resizing = new ResizeObserver(this.layout);
    this.resizing.observe(this.element);
  }

  /** Show `count` new cells; the old ones stood for other things. */
  show(count) {
    for (const index of [...this.cells.keys()]) this.#drop(index);
    this.count = count;
    this.current = Math.min(this.current, Math.max(0, count - 1));
    this.#layout();
  }

  /** Update all cells that exist. */
  update() {
    for (const cell of this.cells.values()) cell.update();
  }

  close() {
    cancelAnimationFrame(this.frame ?? 0);
    window.removeEventListener("scroll", this.soon);
    this.resizing.disconnect();
    for (const index of [...this.cells.keys()]) this.#drop(index);
  }

  #layout() {
    this.frame = null;
    const width = this.element.clientWidth;
    if (width === 0) return;
    const { ratio, extra, gap } = this.shape;
    const minWidth = this.shape.minWidth(this.count);
    // A phone shows two cells side by side.
    this.columns = Math.max(2, Math.floor((width + gap) / (minWidth + gap)));
    this.cellWidth = (width - gap * (this.columns - 1)) / this.columns;
    this.rowHeight = this.cellWidth * ratio + extra + gap;
    this.element.style.setProperty("height", `${Math.max(0, Math.ceil(this.count / this.columns) * this.rowHeight - gap)}px`);
    this.#fill();
  }

  #fill() {
    const top = -this.element.getBoundingClientRect().top;
    const firstRow = Math.max(0, Math.floor(top / this.rowHeight) - MARGIN);
    const lastRow = Math.ceil((top + window.innerHeight) / this.rowHeight) + MARGIN;
    const first = Math.min(this.count, firstRow * this.columns);
    const last = Math.max(first, Math.min(this.count, lastRow * this.columns));
    const focused = this.#focused();
    for (const index of [...this.cells.keys()]) {
      if ((index < first || index >= last) && index !== focused) this.#drop(index);
    }
    for (let index = first; index < last; index += 1) this.#place(index);
    if (focused !== null && focused < this.count) this.#place(focused);
    this.#keepOneStop(first, last);
    this.onRange(first, last);
  }

  /** Put the cell of photo `index` in its place, made if necessary, and return it. */
  #place(/** @type {number} */ index) {
    const cell = this.cells.get(index) ?? this.#insert(index);
    const { element } = cell;
    const [column, row] = [index % this.columns, Math.floor(index / this.columns)];
    element.setAttribute("aria-setsize", String(this.count));
    element.style.setProperty("width", `${this.cellWidth}px`);
    element.style.setProperty("height", `${this.rowHeight - this.shape.gap}px`);
    element.style.setProperty("transform", `translate(${column * (this.cellWidth + this.shape.gap)}px, ${row * this.rowHeight}px)`);
    return cell;
  }

  #insert(/** @type {number} */ index) {
    const cell = this.make(index);
    cell.element.dataset.index = String(index);
    cell.element.setAttribute("aria-posinset", String(index + 1));
    // Keep the elements in the order of their indices, which is the reading order.
    const after = [...this.cells].filter(([other]) => other > index).sort(([a], [b]) => a - b)[0];
    this.element.insertBefore(cell.element, after?.[1].element ?? null);
    this.cells.set(index, cell);
    return cell;
  }

  #drop(/** @type {number} */ index) {
    const cell = this.cells.get(index);
    this.cells.delete(index);
    cell?.close();
    cell?.element.remove();
  }

  /** Let the Tab key stop only in the cell that had the focus last, and then leave the grid. */
  #keepOneStop(first, last) {
    const stop = this.cells.has(this.current) ? this.current : first;
    for (const [index, { element }] of this.cells) {
      for (const part of element.querySelectorAll("a, button")) part.setAttribute("tabindex", index === stop && last > first ? "0" : "-1");
    }
  }

  #focused() {
    const cell = document.activeElement?.closest("[data-index]");
    return cell instanceof HTMLElement && this.element.contains(cell) ? Number(cell.dataset.index) : null;
  }

  #remember(/** @type {EventTarget | null} */ target) {
    const cell = target instanceof Element ? target.closest("[data-index]") : null;
    const index = cell instanceof HTMLElement ? Number(cell.dataset.index) : Number.NaN;
    if (Number.isNaN(index) || index === this.current) return;
    this.current = index;
    this.#fill();
  }

  #move(event) {
    const target = this.#target(event);
    if (target === null || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.current = Math.max(0, Math.min(this.count - 1, target));
    this.#scrollTo(this.current);
    this.#place(this.current).element.querySelector("a")?.focus({ preventScroll: true });
  }

  #target({ key }) {
    const rows = Math.max(1, Math.floor(window.innerHeight / this.rowHeight) - 1);
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: rows * this.columns, PageUp: -rows * this.columns,
    };
    if (key === "Home") return 0;
    if (key === "End") return this.count - 1;
    return key in steps ? this.current + steps[key] : null;
  }

  #scrollTo(index) {
    const top = this.element.getBoundingClientRect().top + Math.floor(index / this.columns) * this.rowHeight;
    const [above, below] = [80, window.innerHeight - this.rowHeight];
    if (top < above) window.scrollBy(0, top - above);
    else if (top > below) window.scrollBy(0, top - below);
  }
}

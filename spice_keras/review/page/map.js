/** The map: images as points in the plane, close if they are alike; lasso, zoom, hover. */

import * as api from "./api.js";
import { counted, el, say } from "./dom.js";

const RADIUS = 3.2, REACH = 14;

/** Colours that differ in lightness as well as hue, for any number of clusters. */
function clusterColor(place, dark) {
  const hue = (place * 137.508) % 360, light = [42, 56, 34][place % 3] + (dark ? 22 : 0);
  return `hsl(${hue} 70% ${light}%)`;
}

export class ImageMap {
  constructor({ selection, opened, changed, titleOf }) {
    Object.assign(this, { selection, opened, changed, titleOf });
    this.scale = 1; this.left = 0; this.top = 0; this.lasso = null; this.drawing = false;
    this.canvas = el("canvas", {
      tabindex: 0, role: "img", "aria-label": "Map of the images; the lists show the same images",
    });
    this.preview = el("figure", { hidden: true });
    this.box = el("div.mapbox", {}, this.canvas, this.preview);
    this.color = el("select", { id: "color", onchange: () => this.draw() },
      ...["cluster", "confidence", "reliability"].map((name) => el("option", { value: name }, name)));
    this.mode = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
      this.mode.setAttribute("aria-pressed", this.mode.getAttribute("aria-pressed") !== "true");
    } }, "Lasso");
    const zoom = (by) => () => this.zoom(by, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    this.bar = el("div.bar", {}, el("label", { for: "color" }, "Colour by"), this.color, this.mode,
      el("button", { type: "button", onclick: zoom(1.4), "aria-label": "Zoom in" }, "+"),
      el("button", { type: "button", onclick: zoom(1 / 1.4), "aria-label": "Zoom out" }, "−"),
      el("span.facts", {}, "Drag to move; with Lasso or Shift, draw round images to select them."));
    for (const name of ["pointerdown", "pointermove", "pointerup", "wheel", "dblclick", "keydown", "pointerleave"]) {
      this.canvas.addEventListener(name, (event) => this[name](event), { passive: false });
    }
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.box);
  }

  close() { this.observer.disconnect(); }

  async load() {
    [this.points, this.shares] = await Promise.all([api.map(), api.shares()]);
    this.draw();
  }

  async refresh() { this.shares = await api.shares(); this.draw(); }

  at(index) {
    const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight) - 24;
    const offset = (this.canvas.clientWidth - side) / 2;
    return [offset + this.left + this.points.x[index] * side * this.scale,
      12 + this.top + this.points.y[index] * side * this.scale];
  }

  draw() {
    if (!this.points || !this.canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = this.canvas.clientHeight * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const { places, confidence, reliable } = this.shares;
    const colors = {
      cluster: (row) => clusterColor(places[row], dark),
      confidence: (row) => `hsl(215 80% ${dark ? 25 + 55 * confidence[row] : 85 - 55 * confidence[row]}%)`,
      reliability: (row) => (reliable[row] ? (dark ? "#8ab4f8" : "#1f5fbf") : (dark ? "#f0a45d" : "#b4540a")),
    }[this.color.value];
    this.points.rows.forEach((row, index) => {
      if (places[row] < 0) return;
      const [x, y] = this.at(index), chosen = this.selection.has(row);
      pen.beginPath();
      pen.arc(x, y, chosen ? RADIUS + 2 : RADIUS, 0, 2 * Math.PI);
      pen.fillStyle = colors(row);
      pen.fill();
      if (chosen) { pen.strokeStyle = dark ? "#fff" : "#000"; pen.lineWidth = 1.5; pen.stroke(); }
    });
    if (this.lasso) {
      pen.beginPath();
      this.lasso.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.fillStyle = "rgb(31 95 191 / 20%)";
      pen.fill();
      pen.strokeStyle = "#1f5fbf";
      pen.stroke();
    }
  }

  nearest(event) {
    if (!this.points) return null;
    let best = null, least = REACH ** 2;
    this.points.rows.forEach((row, index) => {
      const [x, y] = this.at(index), far = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (far < least && this.shares.places[row] >= 0) { least = far; best = index; }
    });
    return best;
  }

  pointerdown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus();
    this.from = [event.offsetX, event.offsetY];
    this.moved = false;
    const lasso = event.shiftKey || this.mode.getAttribute("aria-pressed") === "true";
    this.lasso = lasso ? [this.from] : null;
  }

  pointermove(event) {
    if (this.from) {
      const [x, y] = [event.offsetX, event.offsetY];
      this.moved ||= Math.abs(x - this.from[0]) + Math.abs(y - this.from[1]) > 4;
      if (this.lasso) this.lasso.push([x, y]);
      else if (this.moved) { this.left += event.movementX; this.top += event.movementY; }
      this.draw();
      return;
    }
    const index = this.nearest(event);
    this.preview.hidden = index === null;
    if (index === null) return;
    const row = this.points.rows[index], [x, y] = this.at(index);
    const key = this.shares.keys[this.shares.places[row]];
    this.preview.replaceChildren(el("img", { src: api.thumb(row), alt: "" }), this.titleOf(key));
    this.preview.style.left = `${Math.min(x + 12, this.box.clientWidth - 130)}px`;
    this.preview.style.top = `${Math.max(0, Math.min(y + 12, this.box.clientHeight - 160))}px`;
  }

  pointerup(event) {
    if (this.lasso && this.moved) this.choose(this.lasso);
    else if (!this.moved) {
      const index = this.nearest(event);
      if (index !== null) {
        const row = this.points.rows[index];
        if (!this.selection.delete(row)) this.selection.add(row);
        this.changed();
      }
    }
    this.from = this.lasso = null;
    this.draw();
  }

  pointerleave() { this.preview.hidden = true; }

  choose(shape) {
    const before = this.selection.size;
    this.points.rows.forEach((row, index) => {
      if (this.shares.places[row] >= 0 && inside(this.at(index), shape)) this.selection.add(row);
    });
    say(`${counted(this.selection.size - before, "image")} selected.`);
    this.changed();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX, event.offsetY);
  }

  zoom(by, x, y) {
    const scale = Math.max(0.5, Math.min(60, this.scale * by)), real = scale / this.scale;
    const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight) - 24;
    const offset = (this.canvas.clientWidth - side) / 2;
    this.left = x - offset - (x - offset - this.left) * real;
    this.top = y - 12 - (y - 12 - this.top) * real;
    this.scale = scale;
    this.draw();
  }

  dblclick(event) {
    const index = this.nearest(event);
    if (index !== null) this.opened(this.points.rows[index]);
  }

  keydown(event) {
    const pan = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (pan) { this.left += pan[0]; this.top += pan[1]; this.draw(); }
    else if (event.key === "+" || event.key === "-") {
      this.zoom(event.key === "+" ? 1.3 : 1 / 1.3, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function inside([x, y], shape) {
  let within = false;
  for (let index = 0, last = shape.length - 1; index < shape.length; last = index, index += 1) {
    const [x1, y1] = shape[index], [x2, y2] = shape[last];
    if ((y1 > y) !== (y2 > y) && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) within = !within;
  }
  return within;
}

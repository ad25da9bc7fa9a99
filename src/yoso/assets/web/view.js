// Draws an image with its segments: four canvases above each other, and all of them into one for a download.

import { coloursOf } from "./segments.js";

const VEIL = 200;
const LINE_ALPHA = 230;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const packed = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

export class View {
  constructor(stage, veil) {
    this.stage = stage;
    this.veil = veil;
    this.canvases = Object.fromEntries(
      ["picture", "fill", "lines", "names"].map((name) => [name, stage.querySelector(`#${name}`)]),
    );
    this.options = { opacity: 0.55, outlines: true, labels: true };
    this.result = null;
    this.only = null;
    this.lit = 0;
    this.width = this.height = 0;
  }

  setPicture(bitmap) {
    this.clear();
    this.width = bitmap.width;
    this.height = bitmap.height;
    for (const name of ["picture", "fill", "lines"]) {
      this.canvases[name].width = this.width;
      this.canvases[name].height = this.height;
    }
    this.canvases.picture.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.fit();
  }

  clear() {
    this.result = null;
    this.only = null;
    this.lit = 0;
  }

  setResult(result, categories) {
    this.result = result;
    this.colours = coloursOf(result.segments, categories);
    this.only = null;
    this.lit = 0;
    this.paint();
  }

  // Make the stage as large as its place allows; small images are enlarged, but to no more than four times.
  fit() {
    if (!this.width) return;
    const room = this.stage.parentElement.clientWidth;
    const high = Math.max(240, window.innerHeight - 210);
    const scale = Math.min(room / this.width, high / this.height, 4);
    this.stage.style.width = `${Math.round(this.width * scale)}px`;
    this.stage.style.height = `${Math.round(this.height * scale)}px`;
    this.scale = scale;
    this.paintNames();
  }

  segmentAt(event) {
    if (!this.result) return 0;
    const box = this.stage.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.height);
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return 0;
    return this.result.ids[y * this.width + x];
  }

  // Paint colours and outlines; `only` is the set of ids that are shown, or null for all.
  paint() {
    if (!this.result) return this.paintNames();
    const { ids, edges, segments } = this.result;
    const { outlines } = this.options;
    const size = segments.reduce((most, { id }) => Math.max(most, id), 0) + 1;
    const veil = packed(...this.veil(), VEIL);
    const inside = new Uint32Array(size).fill(this.only ? veil : 0);
    const onEdge = inside.slice();
    const colours = new Uint32Array(size);
    segments.forEach(({ id }, place) => {
      if (this.only && !this.only.has(id)) return;
      const [red, green, blue] = this.colours[place];
      colours[id] = packed(red, green, blue, 255);
      inside[id] = id === this.lit ? packed(255, 255, 255, 60) : 0;
      onEdge[id] = inside[id];
      if (id === this.lit) onEdge[id] = packed(255, 255, 255, 255);
      else if (outlines) onEdge[id] = packed(red >> 1, green >> 1, blue >> 1, LINE_ALPHA);
    });
    this.put("fill", (pixels) => ids.forEach((id, place) => (pixels[place] = colours[id])));
    this.put("lines", (pixels) => ids.forEach((id, place) => (pixels[place] = edges[place] ? onEdge[id] : inside[id])));
    this.canvases.fill.style.opacity = this.options.opacity;
    this.paintNames();
  }

  put(name, write) {
    const picture = new ImageData(this.width, this.height);
    write(new Uint32Array(picture.data.buffer));
    this.canvases[name].getContext("2d").putImageData(picture, 0, 0);
  }

  setOpacity(opacity) {
    this.options.opacity = opacity;
    this.canvases.fill.style.opacity = opacity;
  }

  paintNames() {
    const canvas = this.canvases.names;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(this.width * this.scale * ratio);
    canvas.height = Math.round(this.height * this.scale * ratio);
    this.writeNames(canvas.getContext("2d"), this.scale * ratio, 13 * ratio);
  }

  // Write names where they fit, the largest segments first; `scale` is pixels of the canvas per pixel of the image.
  writeNames(context, scale, fontSize) {
    if (!this.result || !this.options.labels) return;
    const { segments, points } = this.result;
    const order = segments.map((_, place) => place).sort((a, b) => segments[b].area - segments[a].area);
    const taken = [];
    context.font = `600 ${fontSize}px ${FONT}`;
    context.textBaseline = "middle";
    for (const place of order) {
      const { id, label } = segments[place];
      if (this.only && !this.only.has(id)) continue;
      const plate = this.plate(context, label, points[place], scale, fontSize);
      if (!plate || taken.some((other) => overlaps(plate, other))) continue;
      taken.push(plate);
      drawPlate(context, plate, label, this.colours[place], fontSize);
    }
  }

  plate(context, label, point, scale, fontSize) {
    const width = context.measureText(label).width + 1.9 * fontSize;
    const height = 1.6 * fontSize;
    if (point.distance * scale < 0.55 * height) return null;
    const left = point.x * scale - width / 2;
    const top = point.y * scale - height / 2;
    const fits = left >= 2 && top >= 2 && left + width <= this.width * scale - 2 && top + height <= this.height * scale - 2;
    return fits ? { left, top, width, height } : null;
  }

  // Return a canvas of the image's own size with all that is shown.
  flattened() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext("2d");
    context.drawImage(this.canvases.picture, 0, 0);
    context.globalAlpha = this.options.opacity;
    context.drawImage(this.canvases.fill, 0, 0);
    context.globalAlpha = 1;
    context.drawImage(this.canvases.lines, 0, 0);
    this.writeNames(context, 1, Math.max(11, Math.round(Math.max(this.width, this.height) / 64)));
    return canvas;
  }
}

const overlaps = (a, b) =>
  a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;

function drawPlate(context, { left, top, width, height }, label, [red, green, blue], fontSize) {
  context.fillStyle = "rgb(18 20 24 / 80%)";
  context.beginPath();
  context.roundRect(left, top, width, height, 0.36 * height);
  context.fill();
  const middle = top + height / 2;
  context.fillStyle = `rgb(${red} ${green} ${blue})`;
  context.strokeStyle = "#fff";
  context.lineWidth = 0.1 * fontSize;
  context.beginPath();
  context.arc(left + 0.75 * fontSize, middle, 0.27 * fontSize, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  context.fillStyle = "#fff";
  context.fillText(label, left + 1.3 * fontSize, middle + 0.04 * fontSize);
}

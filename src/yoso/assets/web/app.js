// The page: takes images, sends them to the worker, and shows what comes back.

import { Camera } from "./camera.js";
import { fillLegend, shareOf } from "./legend.js";
import { asPng, cutouts, panoptic, save, stem } from "./results.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const BASE = new URL("./", document.baseURI).href;
const RERUN_AFTER = 150;

const state = { page: null, model: null, place: "browser", job: 0, blob: null, name: "", ready: false, threads: 0, only: null };
const view = new View(at("stage"), () => getComputedStyle(document.documentElement).getPropertyValue("--veil").split(" ").map(Number));
const camera = new Camera(segmentFrame, (fps) => showCamera(fps));
const waiting = new Map();
let worker = null;

// ---- the worker

function openWorker() {
  worker?.terminate();
  settleAll(false);
  Object.assign(state, { ready: false, job: 0 });
  worker = new Worker(new URL("worker.js", BASE), { type: "module" });
  worker.onmessage = ({ data }) => HANDLERS[data.type](data);
  worker.onerror = () => failed({ stage: "open", message: "The page could not start its worker. Reload the page." });
  const { model, place, page } = state;
  worker.postMessage({
    type: "open", model, runtime: page.runtime, base: BASE, server: place === "server", key: at("key").value,
  });
  showStatus("busy", "Loading the model");
  at("progress").hidden = place === "server";
  if (state.blob) request({ type: "segment", image: state.blob, name: state.name, options: options() });
}

function options() {
  return { objectMask: Number(at("object-mask").value), overlap: Number(at("overlap").value) };
}

// Send an image or a frame; the promise resolves to whether a result was shown.
function request(message, transfer = []) {
  const job = ++state.job;
  worker.postMessage({ ...message, job }, transfer);
  showStatus("busy", state.ready ? "Segmenting" : "Loading the model");
  at("busy").hidden = camera.running;
  return new Promise((resolve) => waiting.set(job, resolve));
}

function settle(job, shown) {
  waiting.get(job)?.(shown);
  waiting.delete(job);
}

function settleAll(shown) {
  for (const job of [...waiting.keys()]) settle(job, shown);
}

const HANDLERS = {
  progress({ loaded, total }) {
    at("bar").value = loaded / total;
    at("progress-text").textContent = `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
  },
  ready({ threads, milliseconds }) {
    Object.assign(state, { ready: true, threads });
    at("progress").hidden = true;
    document.documentElement.dataset.ready = Math.round(milliseconds);
    showStatus(waiting.size ? "busy" : "ready", waiting.size ? "Segmenting" : where());
  },
  pixels({ job, bitmap, width, height, original }) {
    if (job !== state.job) return bitmap.close();
    state.only = null;
    showStage();
    view.setPicture(bitmap);
    if (!camera.running) tellOfScaling(original, width, height);
    at("caption").textContent = camera.running ? "" : `${state.name}, ${width} × ${height} pixels`;
  },
  result(result) {
    settle(result.job, true);
    if (result.job !== state.job) return;
    at("busy").hidden = true;
    view.setResult(result, state.model.categories);
    document.documentElement.dataset.milliseconds = Math.round(result.milliseconds);
    document.documentElement.dataset.job = result.job;
    showStatus("ready", camera.running ? where() : `${Math.round(result.milliseconds)} ms · ${where()}`);
    showSegments();
    if (!camera.running) say(summary(result));
  },
  failed,
};

function failed({ job, stage, message }) {
  at("busy").hidden = true;
  if (job) settle(job, false);
  if (stage === "open") {
    at("progress").hidden = true;
    showStatus("failed", "Not available");
  } else {
    showStatus(state.ready ? "ready" : "failed", state.ready ? where() : "Not available");
  }
  note("error", message);
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const where = () =>
  state.place === "server" ? "on the server" : `on your device, ${state.threads} ${state.threads === 1 ? "thread" : "threads"}`;

const summary = ({ segments }) => (segments.length === 1 ? "1 segment found" : `${segments.length} segments found`);

// ---- images

function segmentImage(blob, name) {
  if (camera.running) camera.stop();
  note(null);
  Object.assign(state, { blob, name: name || "pasted.png" });
  return request({ type: "segment", image: blob, name: state.name, options: options() });
}

function segmentFrame(bitmap) {
  const fit = state.model.input_size ?? null;
  return request({ type: "segment", image: bitmap, name: "camera.png", options: { ...options(), fit } }, [bitmap]);
}

async function segmentSample(sample) {
  const response = await fetch(new URL(sample.file, BASE)).catch(() => null);
  if (!response?.ok) return note("error", `${sample.title} cannot be downloaded. Check the connection.`);
  await segmentImage(await response.blob(), sample.file.split("/").pop());
  credit(sample);
}

function credit({ credit: text, source }) {
  const link = Object.assign(document.createElement("a"), { href: source, rel: "noreferrer", textContent: text });
  at("caption").append(" · ", link);
}

function fromFiles(files) {
  const [file] = files ?? [];
  if (file) segmentImage(file, file.name);
}

function tellOfScaling(original, width, height) {
  if (original.width === width) return;
  note("info", `The image has ${original.width} × ${original.height} pixels. It was scaled to ${width} × ${height} to fit into the browser's memory; downloads have that size.`);
}

let rerun = null;
function again() {
  clearTimeout(rerun);
  if (!state.job || camera.running) return;
  rerun = setTimeout(() => request({ type: "again", options: options() }), RERUN_AFTER);
}

async function toggleCamera() {
  if (camera.running) return camera.stop();
  note(null);
  Object.assign(state, { blob: null, name: "camera.png" });
  try {
    await camera.start();
    showCamera(null);
  } catch (error) {
    note("error", error.message);
  }
}

// ---- what is shown

function showStatus(kind, text) {
  at("status").dataset.state = kind;
  at("status-text").textContent = text;
}

function note(kind, text = "") {
  at("note").hidden = !kind;
  at("note").dataset.kind = kind ?? "";
  at("note-text").textContent = text;
}

function say(text) {
  at("said").textContent = text;
}

function showStage() {
  at("empty").hidden = true;
  for (const id of ["result", "toolbar", "panel"]) at(id).hidden = false;
}

function showCamera(fps) {
  const label = camera.running ? "Stop the camera" : "Use the camera";
  at("camera").textContent = at("camera-again").textContent = label;
  at("speed").textContent = camera.running && fps ? `${fps.toFixed(1)} frames per second` : "";
}

const act = {
  show(ids) {
    state.only = ids && new Set(ids);
    view.only = state.only;
    view.paint();
    showSegments();
    say(ids ? `Showing ${ids.length === 1 ? describe(ids[0]) : `${ids.length} segments`} alone` : "Showing all segments");
  },
  light(id) {
    if (view.lit === id) return;
    view.lit = id;
    view.paint();
    const lit = view.result?.segments.find((segment) => segment.id === id);
    for (const button of at("legend").querySelectorAll(".class")) {
      button.classList.toggle("lit", lit !== undefined && button.dataset.label === String(lit.label_id));
    }
  },
};

function describe(id) {
  const segment = view.result.segments.find((one) => one.id === id);
  return `${segment.label}, score ${Math.round(100 * segment.score)}%, ${shareOf(segment, view.result)} of the image`;
}

function showSegments() {
  const { result } = view;
  at("count").textContent = result.segments.length ? String(result.segments.length) : "none found";
  at("show-all").hidden = state.only === null;
  fillLegend(at("legend"), result, state.model.categories, state.only, act);
  at("stage").setAttribute("aria-label", `Segmented image. ${summary(result)}.`);
  for (const id of ["save-overlay", "save-panoptic", "save-cutouts"]) at(id).disabled = false;
  at("save-cutouts").disabled = result.segments.length === 0;
}

function showTip(id, x, y) {
  const tip = at("tip");
  tip.hidden = !id;
  if (!id) return;
  const segment = view.result.segments.find((one) => one.id === id);
  const name = Object.assign(document.createElement("b"), { textContent: segment.label });
  tip.replaceChildren(name, `${Math.round(100 * segment.score)}% sure · ${shareOf(segment, view.result)} of the image`);
  const { offsetWidth: width, offsetHeight: height } = at("stage");
  const left = Math.max(4, Math.min(x + 14, width - tip.offsetWidth - 4));
  const top = y + 18 + tip.offsetHeight > height ? y - tip.offsetHeight - 10 : y + 18;
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(4, top))}px)`;
}

// ---- pointer and keyboard on the image

function toggleAlone(id) {
  act.show(!id || (state.only?.size === 1 && state.only.has(id)) ? null : [id]);
}

function bindStage() {
  const stage = at("stage");
  stage.onpointermove = (event) => {
    const id = view.segmentAt(event);
    const box = stage.getBoundingClientRect();
    act.light(id);
    showTip(id, event.clientX - box.left, event.clientY - box.top);
  };
  stage.onpointerleave = () => {
    act.light(0);
    showTip(0);
  };
  stage.onclick = (event) => view.result && toggleAlone(view.segmentAt(event));
  stage.onkeydown = (event) => {
    const segments = view.result?.segments ?? [];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && segments.length) {
      const place = segments.findIndex(({ id }) => id === view.lit);
      const next = place < 0 ? (step > 0 ? 0 : segments.length - 1) : (place + step + segments.length) % segments.length;
      point(next);
    } else if ((event.key === "Enter" || event.key === " ") && view.lit) {
      toggleAlone(view.lit);
    } else if (event.key === "Escape") {
      act.light(0);
      showTip(0);
      if (state.only) act.show(null);
    } else return;
    event.preventDefault();
  };
  stage.onblur = () => {
    act.light(0);
    showTip(0);
  };
}

function point(place) {
  const { x, y } = view.result.points[place];
  const { id } = view.result.segments[place];
  act.light(id);
  showTip(id, x * view.scale, y * view.scale);
  say(describe(id));
}

// ---- controls

function bindControls() {
  for (const id of ["choose", "another"]) at(id).onclick = () => at("file").click();
  for (const id of ["camera", "camera-again"]) at(id).onclick = toggleCamera;
  at("file").onchange = (event) => {
    fromFiles(event.target.files);
    event.target.value = "";
  };
  at("note-close").onclick = () => note(null);
  at("show-all").onclick = () => act.show(null);
  at("opacity").oninput = () => {
    view.setOpacity(at("opacity").value / 100);
    showValues();
  };
  for (const name of ["outlines", "labels"]) {
    at(name).onchange = () => {
      view.options[name] = at(name).checked;
      view.paint();
    };
  }
  for (const id of ["object-mask", "overlap"]) {
    at(id).oninput = () => {
      showValues();
      again();
    };
  }
  at("defaults").onclick = () => {
    setDefaults();
    again();
  };
  at("model").onchange = () => chooseModel(state.page.models.find(({ name }) => name === at("model").value));
  for (const choice of document.querySelectorAll("[name=place]")) choice.onchange = () => choosePlace(choice.value);
  at("key-field").onsubmit = (event) => event.preventDefault();
  at("key").onchange = openWorker;
  at("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark", true);
  bindDownloads();
}

function bindDownloads() {
  at("save-overlay").onclick = async () => save(await asPng(view.flattened()), `${stem(state.name)}.overlay.png`);
  at("save-panoptic").onclick = async () => {
    const { model, page } = state;
    const settings = {
      command: `web page, ${state.place}`, model: model.name, weights_sha256: model.weights_sha256,
      input_size: model.input_size, object_mask_threshold: options().objectMask, overlap_threshold: options().overlap,
    };
    save(await panoptic(state.name, view.result, model, settings, page.version), `${stem(state.name)}.panoptic.zip`);
  };
  at("save-cutouts").onclick = async () =>
    save(await cutouts(state.name, view.canvases.picture, view.result, state.only), `${stem(state.name)}.cutouts.zip`);
}

function bindDropping() {
  let depth = 0;
  const shown = (change) => {
    depth = change === 0 ? 0 : Math.max(0, depth + change);
    at("drop").hidden = depth === 0;
  };
  window.ondragenter = () => shown(1);
  window.ondragleave = () => shown(-1);
  window.ondragover = (event) => event.preventDefault();
  window.ondrop = (event) => {
    event.preventDefault();
    shown(0);
    fromFiles(event.dataTransfer.files);
  };
  window.onpaste = (event) => {
    const files = event.clipboardData.files;
    if (files.length) fromFiles(files);
    else if (event.target.tagName !== "INPUT") note("error", "The clipboard holds no image. Copy an image and paste again.");
  };
}

function showValues() {
  at("opacity-value").textContent = `${at("opacity").value}%`;
  for (const id of ["object-mask", "overlap"]) at(`${id}-value`).textContent = Number(at(id).value).toFixed(2);
}

function setDefaults() {
  at("object-mask").value = state.model.object_mask_threshold;
  at("overlap").value = state.model.overlap_threshold;
  showValues();
}

function setTheme(theme, keep) {
  document.documentElement.dataset.theme = theme;
  at("theme").setAttribute("aria-pressed", String(theme === "dark"));
  try {
    if (keep) localStorage.setItem("yoso-theme", theme);
  } catch {
    // Storage is blocked: the choice holds until the page is closed.
  }
  if (view.result) view.paint();
}

function startTheme() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try {
    kept = localStorage.getItem("yoso-theme");
  } catch {
    // Storage is blocked.
  }
  setTheme(kept ?? (dark.matches ? "dark" : "light"), false);
  dark.onchange = () => setTheme(dark.matches ? "dark" : "light", false);
}

// ---- models, and where they run

function chooseModel(model) {
  if (camera.running) camera.stop();
  state.model = model;
  const facts = [model.data && `Trained on ${model.data}.`, model.license && `Model: ${model.license}.`];
  at("about").textContent = `${model.name}. ${facts.filter(Boolean).join(" ")}`;
  at("model-name").textContent = state.page.models.length > 1 ? "" : model.name;
  setDefaults();
  const browser = document.querySelector("[name=place][value=browser]");
  browser.disabled = model.file === null;
  choosePlace(model.file === null ? "server" : state.place);
}

function choosePlace(place) {
  state.place = place;
  document.querySelector(`[name=place][value=${place}]`).checked = true;
  at("key-field").hidden = place !== "server" || !state.page.key;
  at("promise").textContent =
    place === "server"
      ? "or paste one. It is sent to this server, which runs the model."
      : "or paste one. It stays on your device: nothing is uploaded.";
  openWorker();
}

function sampleButton(sample) {
  const picture = Object.assign(document.createElement("img"), { src: new URL(sample.file, BASE).href, alt: "" });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "sample", title: sample.title });
  button.setAttribute("aria-label", `Sample: ${sample.title}. ${sample.credit}`);
  button.append(picture);
  button.onclick = () => segmentSample(sample);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

async function keepOffline() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(new URL("sw.js", BASE));
    await navigator.serviceWorker.ready;
    document.documentElement.dataset.offline = "ready";
  } catch {
    // Without https, or with storage blocked, the page works but needs the network.
  }
}

async function start() {
  at("boot").remove();
  startTheme();
  const response = await fetch(new URL("page.json", BASE)).catch(() => null);
  if (!response?.ok) {
    showStatus("failed", "Not available");
    return note("error", "page.json cannot be read. Upload the whole folder that `yoso export --format web` wrote.");
  }
  state.page = await response.json();
  const { models, samples, server } = state.page;
  at("samples").hidden = samples.length === 0;
  at("sample-list").append(...samples.map(sampleButton));
  at("sample-thumbs").append(...samples.map(sampleButton));
  at("place").hidden = !server;
  at("model-choice").hidden = models.length < 2;
  at("model").append(...models.map(({ name }) => new Option(name, name)));
  bindControls();
  bindStage();
  bindDropping();
  new ResizeObserver(() => view.fit()).observe(at("frame"));
  window.addEventListener("resize", () => view.fit());
  chooseModel(models[0]);
  keepOffline();
}

start();

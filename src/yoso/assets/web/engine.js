// What segments an image: ONNX Runtime in this browser, or the server that the page comes from.
//
// Both have `threads` and `segment(pixels, options)`, which returns {ids, segments}: int32 segment ids, row by row, and
// segments as the Predictor's result has them.

import { download } from "./downloads.js";

const MAX_THREADS = 4;

// The smallest module that uses SIMD: `v128.const` in one function.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

export function hasWebAssembly() {
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(SIMD));
}

export class BrowserEngine {
  static async open(model, runtime, base, progress) {
    const loaded = [0, 0];
    const tell = (index) => (bytes) => {
      loaded[index] = bytes;
      progress(loaded[0] + loaded[1], runtime.bytes + model.bytes);
    };
    const script = import(new URL(runtime.script, base).href);
    const [ort, wasm, onnx] = await Promise.all([
      script,
      download(new URL(runtime.file, base).href, tell(0)),
      download(new URL(model.file, base).href, tell(1)),
    ]);
    // Browsers share memory among threads only on pages that are isolated from other origins.
    const threads = self.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: new URL(runtime.factory, base).href };
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(new Uint8Array(onnx), {
      executionProviders: ["wasm"],
      logSeverityLevel: 3,
    });
    return new BrowserEngine(ort, session, model, threads);
  }

  constructor(ort, session, model, threads) {
    Object.assign(this, { ort, session, model, threads });
  }

  async segment({ rgb, width, height }, { objectMask, overlap }) {
    const { Tensor } = this.ort;
    const [shorter, longest] = this.model.input_size ?? [0, 0];
    const outputs = await this.session.run({
      image: new Tensor("uint8", rgb, [height, width, 3]),
      input_size: new Tensor("int64", BigInt64Array.of(BigInt(shorter), BigInt(longest)), [2]),
      output_size: new Tensor("int64", BigInt64Array.of(BigInt(height), BigInt(width)), [2]),
      object_mask_threshold: new Tensor("float32", Float32Array.of(objectMask), []),
      overlap_threshold: new Tensor("float64", Float64Array.of(overlap), []),
    });
    const [indices, scores, areas, extents] = ["class_indices", "scores", "areas", "boxes"].map((name) =>
      Array.from(outputs[name].data, Number),
    );
    const segments = indices.map((labelId, place) => {
      const [top, bottom, left, right] = extents.slice(4 * place, 4 * place + 4);
      const category = this.model.categories[labelId];
      return {
        id: place + 1,
        label_id: labelId,
        label: category.name,
        is_thing: Boolean(category.isthing),
        score: scores[place],
        area: areas[place],
        bbox: [left, top, right - left + 1, bottom - top + 1],
      };
    });
    return { ids: outputs.segmentation.data.slice(), segments };
  }
}

export class ServerEngine {
  constructor(model, base, key) {
    Object.assign(this, { model, base, key, threads: 0 });
  }

  async segment({ source, rgb, width, height, original }, { objectMask, overlap }) {
    // The file itself, if its pixels are the ones that the page shows.
    const same = source instanceof Blob && original.width === width && original.height === height;
    const address = new URL("v1/panoptic", this.base);
    address.search = new URLSearchParams({
      model: this.model.name,
      output: "segments,panoptic_png",
      object_mask_threshold: objectMask,
      overlap_threshold: overlap,
    });
    const answer = await this.post(address, same ? source : await asPng(rgb, width, height));
    return { ids: await readIds(answer.panoptic_png), segments: answer.segments_info };
  }

  async post(address, body) {
    const headers = { "Content-Type": body.type || "application/octet-stream" };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    let response;
    try {
      response = await fetch(address, { method: "POST", body, headers });
    } catch {
      throw new Error("The server does not answer. Check that it is running.");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const error = new Error(answer.detail || answer.title || `The server answers with status ${response.status}.`);
    error.status = response.status;
    throw error;
  }
}

function asPng(rgb, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const picture = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    picture.data[to] = rgb[from];
    picture.data[to + 1] = rgb[from + 1];
    picture.data[to + 2] = rgb[from + 2];
    picture.data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

// COCO panoptic PNG: id = R + 256 G + 65536 B.
async function readIds(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const ids = new Int32Array(data.length / 4);
  for (let place = 0; place < ids.length; place++) {
    ids[place] = data[4 * place] + 256 * data[4 * place + 1] + 65536 * data[4 * place + 2];
  }
  return ids;
}

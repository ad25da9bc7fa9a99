// The worker of the page: decodes images and runs the network, so that the page itself never waits.
//
// Messages in:  {type: "open", model, runtime, base, server}, {type: "segment", job, image, name, options},
//               {type: "again", job, options}
// Messages out: progress, ready, pixels, result, failed; each result repeats the job's number.

import { BrowserEngine, ServerEngine, hasWebAssembly } from "./engine.js";
import { decode } from "./pixels.js";
import { describe } from "./segments.js";

let engine = null;
let opened = null;
let pixels = null;

const send = (type, content = {}, transfer = []) => self.postMessage({ type, ...content }, transfer);

async function open({ model, runtime, base, server, key }) {
  const started = performance.now();
  if (server) {
    engine = new ServerEngine(model, base, key);
  } else if (!hasWebAssembly()) {
    throw new Error(
      "This browser cannot run the model, because it has no WebAssembly with SIMD. " +
        "Use a current version of Chrome, Edge, Firefox or Safari.",
    );
  } else {
    engine = await BrowserEngine.open(model, runtime, base, (loaded, total) => send("progress", { loaded, total }));
  }
  send("ready", { threads: engine.threads, milliseconds: performance.now() - started });
}

async function segment({ job, image, name, options }) {
  const decoded = await decode(image, name, options);
  pixels = { ...decoded, source: image };
  send(
    "pixels",
    { job, bitmap: decoded.bitmap, width: decoded.width, height: decoded.height, original: decoded.original },
    [decoded.bitmap],
  );
  await run({ job, options });
}

async function run({ job, options }) {
  if (!pixels) return;
  await opened;
  const started = performance.now();
  const result = await engine.segment(pixels, options);
  const milliseconds = performance.now() - started;
  const { points, edges } = describe(result.ids, pixels.width, pixels.height, result.segments, options);
  send("result", { job, ...result, points, edges, width: pixels.width, height: pixels.height, milliseconds }, [
    result.ids.buffer,
    edges.buffer,
  ]);
}

const HANDLERS = {
  open: (message) => (opened = open(message)),
  segment,
  again: run,
};

self.onmessage = async ({ data }) => {
  try {
    await HANDLERS[data.type](data);
  } catch (error) {
    send("failed", { job: data.job ?? null, stage: data.type, message: error.message || String(error) });
  }
};

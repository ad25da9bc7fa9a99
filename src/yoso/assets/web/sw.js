// Keeps the page for use without a network. Small files come from the network first, so that a new version shows at
// once; the model and the runtime are kept by downloads.js, under addresses that change with their content.

const CACHE = "yoso-page";
const FILES = "yoso-files";
const PAGE = [
  "./", "style.css", "icon.svg", "page.json", "app.js", "camera.js", "downloads.js", "engine.js",
  "legend.js", "pixels.js", "results.js", "segments.js", "view.js", "worker.js", "zip.js", "runtime/ort.js",
  "runtime/ort-wasm.js",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(PAGE)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname, href } = new URL(request.url);
  const scope = self.registration.scope;
  // The API of a server below the same address is none of our files.
  if (request.method !== "GET" || origin !== self.location.origin || !href.startsWith(scope)) return;
  if (/^(v1|v2|metrics|docs|openapi)/.test(pathname.slice(new URL(scope).pathname.length))) return;
  event.respondWith(answered(request));
});

async function answered(request) {
  const kept = await caches.open(FILES).then((cache) => cache.match(request));
  if (kept) return kept;
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok && isSmall(request)) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const old = await cache.match(request, { ignoreSearch: true });
    if (old) return old;
    throw error;
  }
}

const isSmall = (request) => !request.url.includes(".gz");

// Large files: fetched once with progress, kept in the browser's cache, decompressed here so that any host will do.

export const CACHE = "yoso-files";

// Return the content as an ArrayBuffer; `progress(bytes)` is called with the compressed bytes so far.
export async function download(address, progress) {
  const cache = await openCache();
  const kept = await cache?.match(address);
  if (kept) {
    const content = await kept.arrayBuffer();
    progress(content.byteLength);
    return unpacked(content);
  }
  const content = await fetched(address, progress);
  await remember(cache, address, content);
  return unpacked(content);
}

async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null; // not on https or localhost, or storage is blocked: the page works, but not offline
  }
}

async function fetched(address, progress) {
  const name = new URL(address).pathname.split("/").pop();
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new Error(`${name} cannot be downloaded. Check the connection and reload the page.`);
  }
  if (!response.ok) throw new Error(`${name} cannot be downloaded (status ${response.status}).`);
  const parts = [];
  let bytes = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress((bytes += value.length));
  }
  return new Blob(parts).arrayBuffer();
}

async function remember(cache, address, content) {
  try {
    await forgetOlder(cache, address);
    await cache?.put(address, new Response(content));
  } catch {
    // The storage is full: the next visit downloads the file again.
  }
}

async function forgetOlder(cache, address) {
  const path = new URL(address).pathname;
  for (const request of (await cache?.keys()) ?? []) {
    if (new URL(request.url).pathname === path) await cache.delete(request);
  }
}

// Some hosts send .gz files with Content-Encoding, and the browser has decompressed them already.
async function unpacked(content) {
  const [first, second] = new Uint8Array(content, 0, Math.min(2, content.byteLength));
  if (first !== 0x1f || second !== 0x8b) return content;
  return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

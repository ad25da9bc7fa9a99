// Downloads: the overlay, COCO panoptic as `yoso predict` writes it, and segments cut out of the image.

import { zip } from "./zip.js";

export const stem = (name) => name.replace(/\.[^.]*$/, "") || "image";

export const asPng = (canvas) => canvas.convertToBlob({ type: "image/png" });

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Return the archive that `yoso pq` reads after unpacking: panoptic.json and panoptic/NAME.png.
export async function panoptic(name, result, model, settings, version) {
  const mask = `${stem(name)}.png`;
  const { width, height, segments } = result;
  const content = {
    info: { description: `Predictions made with YOSO ${version}`, yoso: settings },
    images: [{ id: 1, file_name: name, height, width }],
    annotations: [{ image_id: 1, file_name: mask, segments_info: segments.map((one) => cocoSegment(one, model)) }],
    categories: model.categories,
  };
  return zip({
    "panoptic.json": `${JSON.stringify(content, null, 1)}\n`,
    [`panoptic/${mask}`]: await asPng(idMap(result)),
  });
}

function cocoSegment({ id, label_id: labelId, score, area, bbox }, { categories }) {
  return { id, category_id: categories[labelId].id, score: Math.round(score * 1e6) / 1e6, iscrowd: 0, area, bbox };
}

// COCO panoptic PNG: id = R + 256 G + 65536 B.
function idMap({ ids, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let place = 0; place < ids.length; place++) pixels[place] = (0xff000000 | ids[place]) >>> 0;
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

// Return one PNG per segment, transparent outside it and cropped to its box, in an archive; `picture` is a canvas.
export async function cutouts(name, picture, result, only) {
  const members = {};
  for (const segment of result.segments) {
    if (only && !only.has(segment.id)) continue;
    const number = String(segment.id).padStart(3, "0");
    const label = segment.label.replace(/[^\p{L}\p{N}_-]+/gu, "-");
    members[`${stem(name)}-${number}-${label}.png`] = await asPng(cutout(picture, result, segment));
  }
  return zip(members);
}

function cutout(picture, { ids, width: total }, { id, bbox: [left, top, width, height] }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, -left, -top);
  const pixels = context.getImageData(0, 0, width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ids[(top + y) * total + left + x] !== id) pixels.data[4 * (y * width + x) + 3] = 0;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

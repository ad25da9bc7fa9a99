// Images to pixels, as `yoso predict` reads them: upright, without colour management, transparency on white.

const MAX_PIXELS = 4_000_000;

export class ImageError extends Error {}

// Return {rgb, width, height, original, bitmap}: uint8 RGB rows, and the same picture for the page.
// Larger images than MAX_PIXELS are scaled down; `shorter` and `longest` in pixels scale further, for the camera.
export async function decode(image, name, { maxPixels = MAX_PIXELS, fit = null } = {}) {
  const source = image instanceof ImageBitmap ? image : await opened(image, name);
  const original = { width: source.width, height: source.height };
  const { width, height } = size(original, maxPixels, fit);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new ImageError(`${name}: this browser has too little memory for the image; use a smaller one.`);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  source.close();
  const rgb = withoutAlpha(context.getImageData(0, 0, width, height).data);
  return { rgb, width, height, original, bitmap: canvas.transferToImageBitmap() };
}

async function opened(blob, name) {
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "default" });
  } catch {
    throw new ImageError(
      blob.size === 0
        ? `${name} is empty. Choose another image.`
        : `${name} is not an image that this browser can read. Choose a JPEG, PNG or WebP file.`,
    );
  }
}

export function size({ width, height }, maxPixels, fit) {
  let scale = Math.min(1, Math.sqrt(maxPixels / (width * height)));
  if (fit) scale = Math.min(scale, fit[0] / Math.min(width, height), fit[1] / Math.max(width, height));
  const scaled = (side) => Math.max(1, scale < 1 ? Math.round(side * scale) : side);
  return { width: scaled(width), height: scaled(height) };
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

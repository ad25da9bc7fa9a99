// What the page needs to know about segments beyond the model's result: edges, places for labels, colours.

const COARSE_SIDE = 256;

// Return {edges, points}: 1 for every pixel of an outline, and per segment where its label fits best, with the distance
// to the nearest pixel that is not of the segment.
export function describe(ids, width, height, segments) {
  return { edges: edgesOf(ids, width, height), points: pointsOf(ids, width, height, segments) };
}

function edgesOf(ids, width, height) {
  const edges = new Uint8Array(ids.length);
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (x + 1 < width && ids[place] !== ids[place + 1]) edges[place] = edges[place + 1] = 1;
      if (y + 1 < height && ids[place] !== ids[place + width]) edges[place] = edges[place + width] = 1;
    }
  }
  const reach = Math.max(1, Math.round(Math.min(width, height) / 640)) - 1;
  return reach ? widened(edges, width, height, reach) : edges;
}

function widened(edges, width, height, reach) {
  const wide = new Uint8Array(edges.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!edges[y * width + x]) continue;
      const right = Math.min(width - 1, x + reach);
      for (let row = Math.max(0, y - reach); row <= Math.min(height - 1, y + reach); row++) {
        wide.fill(1, row * width + Math.max(0, x - reach), row * width + right + 1);
      }
    }
  }
  return wide;
}

function pointsOf(ids, width, height, segments) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / COARSE_SIDE));
  const columns = Math.ceil(width / step);
  const rows = Math.ceil(height / step);
  const coarse = new Int32Array(columns * rows);
  const middle = step >> 1;
  for (let row = 0; row < rows; row++) {
    const y = Math.min(height - 1, row * step + middle);
    for (let column = 0; column < columns; column++) {
      coarse[row * columns + column] = ids[y * width + Math.min(width - 1, column * step + middle)];
    }
  }
  const distance = distances(coarse, columns, rows);
  const best = new Map();
  distance.forEach((value, place) => {
    if (value > (best.get(coarse[place])?.value ?? 0)) best.set(coarse[place], { value, place });
  });
  return segments.map(({ id, bbox: [left, top, wide, high] }) => {
    const found = best.get(id);
    if (!found) return { x: left + wide / 2, y: top + high / 2, distance: 0 };
    return {
      x: ((found.place % columns) + 0.5) * step,
      y: (Math.floor(found.place / columns) + 0.5) * step,
      distance: found.value * step,
    };
  });
}

// City-block distance to the nearest pixel of another segment, in two passes.
function distances(ids, columns, rows) {
  const distance = new Int32Array(ids.length);
  const near = (place, other, inside) => (inside && ids[other] === ids[place] ? distance[other] : 0);
  for (let place = 0; place < ids.length; place++) {
    const x = place % columns;
    distance[place] = 1 + Math.min(near(place, place - 1, x > 0), near(place, place - columns, place >= columns));
  }
  for (let place = ids.length - 1; place >= 0; place--) {
    const x = place % columns;
    const after = Math.min(
      near(place, place + 1, x + 1 < columns),
      near(place, place + columns, place + columns < ids.length),
    );
    distance[place] = Math.min(distance[place], 1 + after);
  }
  return distance;
}

// A colour [r, g, b] per segment: its category's, in another shade for each further thing; as `yoso predict` draws.
export function coloursOf(segments, categories) {
  const seen = new Map();
  return segments.map(({ label_id: labelId, is_thing: isThing }) => {
    const { color } = categories[labelId];
    if (!isThing) return color;
    const rank = seen.get(labelId) ?? 0;
    seen.set(labelId, rank + 1);
    return rank ? shade(color, rank) : color;
  });
}

function shade(colour, rank) {
  const [hue, lightness, saturation] = toHls(colour.map((value) => value / 255));
  const modulo = (value) => ((value % 1) + 1) % 1;
  const spread = modulo((lightness - 0.3) / 0.45 + rank * 0.61803398875);
  const turn = (modulo(rank * 0.75487766625) - 0.5) * 0.12;
  return toRgb(modulo(hue + turn), 0.3 + 0.45 * spread, saturation).map((value) => Math.round(value * 255));
}

function toHls([red, green, blue]) {
  const high = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  const lightness = (high + low) / 2;
  if (high === low) return [0, lightness, 0];
  const range = high - low;
  const saturation = lightness <= 0.5 ? range / (high + low) : range / (2 - high - low);
  const [r, g, b] = [red, green, blue].map((value) => (high - value) / range);
  const hue = red === high ? b - g : green === high ? 2 + r - b : 4 + g - r;
  return [(((hue / 6) % 1) + 1) % 1, lightness, saturation];
}

function toRgb(hue, lightness, saturation) {
  const high = lightness <= 0.5 ? lightness * (1 + saturation) : lightness + saturation - lightness * saturation;
  const low = 2 * lightness - high;
  const channel = (turned) => {
    const at = ((turned % 1) + 1) % 1;
    if (at < 1 / 6) return low + (high - low) * at * 6;
    if (at < 1 / 2) return high;
    return at < 2 / 3 ? low + (high - low) * (2 / 3 - at) * 6 : low;
  };
  return [channel(hue + 1 / 3), channel(hue), channel(hue - 1 / 3)];
}

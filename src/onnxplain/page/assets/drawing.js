/** Maps as pictures: the colours and the stretching of onnxplain's overlays. */

const SATURATION = 0.35, BRIGHTNESS = 0.65, LUMA = [0.299, 0.587, 0.114];
const PERCENTILES = { map: [50, 99.5], signed: [0, 99.5] };

/** Return how far each place of a map stands out, 0..1; of a signed one -1..1. The last argument has weights of rows and columns. */
export function levels(map, width, height, signed, [down, across]) {
  const soft = map.map((value, index) => value * down[Math.floor(index / width)] * across[index % width]);
  const smoothed = smooth(soft, width, height, Math.max(width, height) / 256);
  const sizes = signed ? smoothed.map(Math.abs) : smoothed;
  const [low, high] = stretch(sizes, PERCENTILES[signed ? "signed" : "map"]);
  return sizes.map((value, index) => {
    const level = high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0;
    return signed && smoothed[index] < 0 ? -level : level;
  });
}

function stretch(values, [low, high]) {
  const positive = values.filter((value) => value > 0).sort();
  if (!positive.length) return [0, 0];
  const floor = low ? percentile(positive, low) : 0, ceiling = percentile(positive, high);
  return ceiling > floor ? [floor, ceiling] : [0, ceiling];
}

function percentile(sorted, percent) {
  const place = (percent / 100) * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

/** A Gaussian filter, cut off at three sigma, the pixels of the edge repeated. */
function smooth(values, width, height, sigma) {
  const radius = Math.round(3 * sigma);
  if (!radius) return values;
  const weights = Array.from({ length: 2 * radius + 1 }, (_, tap) => Math.exp(-0.5 * ((tap - radius) / sigma) ** 2));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const along = (input, lines, length, lineStep, step) => {
    const made = new Float32Array(input.length);
    for (let line = 0; line < lines; line++) {
      for (let at = 0; at < length; at++) {
        let sum = 0;
        for (let tap = -radius; tap <= radius; tap++) {
          const from = Math.min(Math.max(at + tap, 0), length - 1);
          sum += weights[tap + radius] * input[line * lineStep + from * step];
        }
        made[line * lineStep + at * step] = sum / total;
      }
    }
    return made;
  };
  return along(along(values, width, height, 1, width), height, width, width, 1);
}

/** Return levels laid over a photo, dimmed and nearly grey, as an ImageData; `table` has 256 colours. */
export function laidOver(photo, level, table, opacity, signed) {
  const made = new ImageData(photo.width, photo.height), { data } = photo;
  for (let index = 0, at = 0; index < level.length; index++, at += 4) {
    const value = level[index], weight = opacity * Math.abs(value);
    const colour = 3 * Math.round(255 * (signed ? (1 + value) / 2 : value));
    const grey = LUMA[0] * data[at] + LUMA[1] * data[at + 1] + LUMA[2] * data[at + 2];
    for (let channel = 0; channel < 3; channel++) {
      const ground = BRIGHTNESS * (SATURATION * data[at + channel] + (1 - SATURATION) * grey);
      made.data[at + channel] = ground * (1 - weight) + table[colour + channel] * weight;
    }
    made.data[at + 3] = 255;
  }
  return made;
}

/** Return the table of 256 colours that a string of hexadecimal digits is. */
export function tableOf(text) {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) => parseInt(text.slice(2 * index, 2 * index + 2), 16));
}

/**
 * From the pixels of a photo to the input tensor, and back from a map over the tensor to the photo.
 *
 * The same numbers as onnxplain.Preprocessing, whose documentation says what each field means: resizing is Pillow's,
 * with its whole-number weights, columns first, rounded to pixels after each of the two steps.
 */
import { Refusal } from "./refusal.js";

const STEPS = 1 << 22;
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => (x === 0 ? 1 : Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0)],
  bicubic: [2, (x) => {
    const y = Math.abs(x);
    if (y < 1) return (1.5 * y - 2.5) * y * y + 1;
    return y < 2 ? ((-0.5 * y + 2.5) * y - 4) * y + 2 : 0;
  }],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};
const pair = (size) => (Array.isArray(size) ? size : [size, size]);
const cut = (value, low, high) => Math.min(Math.max(value, low), high);

/** Round to the nearest whole number, halves to the even one, as Python does. */
function rounded(value) {
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** How wide the edge is at which a map fades out, as a share of the photo's longer side. */
const FADING = 1 / 48;

/** Return {photo, resized, offset, canvas} of a photo of this size; each is [height, width]. */
export function geometry(recipe, height, width) {
  const photo = [height, width];
  let resized = photo, offset = [0, 0], whole = null;
  if (recipe.size !== null) {
    const target = pair(recipe.size);
    if (recipe.resize === "none" && (target[0] !== height || target[1] !== width)) {
      throw new Refusal(`the photo is ${width}×${height}, and the model takes photos of ${target[1]}×${target[0]} alone.`);
    }
    if (recipe.resize === "exact") resized = target;
    if (recipe.resize === "shortest") resized = covering(photo, target);
    if (recipe.resize === "letterbox") {
      const ratio = Math.min(target[0] / height, target[1] / width);
      resized = photo.map((side) => Math.max(1, rounded(side * ratio)));
      offset = target.map((side, axis) => -rounded((side - resized[axis]) / 2 - 0.1));
      whole = target;
    }
  }
  whole ??= resized;
  if (recipe.crop === null) return { photo, resized, offset, canvas: whole };
  const canvas = pair(recipe.crop);
  const centres = canvas.map((side, axis) => centre(whole[axis] - side, recipe.crop_rounding));
  return { photo, resized, offset: offset.map((first, axis) => first + centres[axis]), canvas };
}

function covering([height, width], target) {
  if (target[0] * width >= target[1] * height) {
    return [target[0], Math.max(target[1], Math.trunc((target[0] * width) / height))];
  }
  return [Math.max(target[0], Math.trunc((target[1] * height) / width)), target[1]];
}

function centre(slack, rounding) {
  if (rounding === "torchvision") return slack >= 0 ? rounded(slack / 2) : Math.ceil(slack / 2);
  return rounding === "floor" ? Math.floor(slack / 2) : Math.floor((slack + 1) / 2);
}

/** Return {values, geometry} of an ImageData: values as the model's input has them, without the batch axis. */
export function tensorOf(image, recipe) {
  const place = geometry(recipe, image.height, image.width), [rows, columns] = place.canvas;
  const grey = recipe.channels === "L", count = grey ? 1 : 3, area = rows * columns;
  const planes = channelsOf(image, grey).map((plane) => placed(plane, place, recipe.filter));
  const pad = grey ? [luma(...recipe.pad_color)] : recipe.pad_color;
  const values = new Float32Array(count * area);
  for (let channel = 0; channel < count; channel++) {
    const source = recipe.channels === "BGR" ? 2 - channel : channel;
    const table = tableOf(recipe, channel), pixels = planes[source];
    for (let index = 0; index < area; index++) {
      const value = table[pixels[index] < 0 ? pad[source] : pixels[index]];
      values[recipe.layout === "NHWC" ? index * count + channel : channel * area + index] = value;
    }
  }
  return { values, geometry: place };
}

const luma = (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;

function channelsOf(image, grey) {
  const { data } = image, area = image.width * image.height;
  const planes = Array.from({ length: grey ? 1 : 3 }, () => new Uint8Array(area));
  for (let index = 0, at = 0; index < area; index++, at += 4) {
    if (grey) planes[0][index] = luma(data[at], data[at + 1], data[at + 2]);
    else for (let channel = 0; channel < 3; channel++) planes[channel][index] = data[at + channel];
  }
  return planes;
}

function tableOf(recipe, channel) {
  const at = (numbers) => numbers[Math.min(channel, numbers.length - 1)];
  return Float32Array.from({ length: 256 }, (_, pixel) => {
    const value = recipe.invert ? 255 - pixel : pixel;
    return (value * recipe.scale - at(recipe.mean)) / at(recipe.std);
  });
}

/** One channel resized and cropped to the canvas, Int16Array; -1 where there is nothing of the photo. */
function placed(plane, place, filter) {
  const [height, width] = place.photo, [rows, columns] = place.canvas, [top, left] = place.offset;
  const across = taps(width, place.resized[1], left, columns, filter);
  const down = taps(height, place.resized[0], top, rows, filter);
  const between = new Uint8Array(height * columns);
  weighted(plane, across, height, [width, 1], between, [columns, 1]);
  const made = new Int16Array(rows * columns).fill(-1);
  weighted(between, down, columns, [1, columns], made, [1, columns]);
  for (const { at, index } of across.map((index, at) => ({ at, index }))) {
    if (index === null) for (let row = 0; row < rows; row++) made[row * columns + at] = -1;
  }
  return made;
}

/** For each of `count` outputs from `offset` on: the first input and its whole-number weights; null in the padding. */
function taps(inputs, resized, offset, count, filter) {
  return Array.from({ length: count }, (_, index) => {
    const place = index + offset;
    if (place < 0 || place >= resized) return null;
    if (resized === inputs) return { first: place, weights: [STEPS] };
    const scale = inputs / resized, middle = (place + 0.5) * scale;
    if (filter === "nearest") return { first: Math.floor(middle), weights: [STEPS] };
    const [width, weigh] = FILTERS[filter], wide = Math.max(scale, 1), support = width * wide;
    const first = Math.max(0, Math.trunc(middle - support + 0.5));
    const last = Math.min(inputs, Math.trunc(middle + support + 0.5));
    const raw = Array.from({ length: last - first }, (_, tap) => weigh((tap + first - middle + 0.5) * (1 / wide)));
    const total = raw.reduce((sum, weight) => sum + weight, 0) || 1;
    return { first, weights: raw.map((weight) => Math.trunc((weight / total) * STEPS + (weight < 0 ? -0.5 : 0.5))) };
  });
}

/** Apply `taps` along one axis for each of `lines`; strides are [of a line, along it]. */
function weighted(input, taps, lines, [inputLine, inputStep], output, [outputLine, outputStep]) {
  taps.forEach((tap, at) => {
    if (tap === null) return;
    const { first, weights } = tap;
    for (let line = 0; line < lines; line++) {
      let sum = STEPS / 2, from = line * inputLine + first * inputStep;
      for (const weight of weights) {
        sum += input[from] * weight;
        from += inputStep;
      }
      output[line * outputLine + at * outputStep] = cut(Math.floor(sum / STEPS), 0, 255);
    }
  });
}

/**
 * Return a map over the model's input as Float32Array over a photo that is shown at [height, width].
 *
 * Linear, averaging where the photo has fewer pixels; 0 where the model saw nothing, and the share that it saw at the
 * edge of the crop: as Geometry.to_photo.
 */
export function toPhoto(map, place, [height, width]) {
  const [rows, columns] = place.canvas;
  const across = linear(width, columns, place.resized[1] / width, -place.offset[1]);
  const down = linear(height, rows, place.resized[0] / height, -place.offset[0]);
  const between = new Float32Array(height * columns);
  interpolated(map, down, columns, [1, columns], between, [1, columns]);
  const made = new Float32Array(height * width);
  interpolated(between, across, height, [columns, 1], made, [width, 1]);
  return made;
}

/**
 * Return the weights of rows and of columns, Float32Arrays, with which a map shown at [height, width] fades out where the
 * crop ends inside the photo: as Geometry.fading.
 */
export function fading(place, shown) {
  const soft = Math.max(...shown) * FADING;
  return shown.map((extent, axis) => {
    const scale = extent / place.resized[axis];
    const low = cut(place.offset[axis] * scale, 0, extent), high = cut((place.offset[axis] + place.canvas[axis]) * scale, 0, extent);
    return Float32Array.from({ length: extent }, (_, index) => {
      const before = low > 0 ? (index + 0.5 - low) / soft : 1, after = high < extent ? (high - index - 0.5) / soft : 1;
      return cut(Math.min(before, after), 0, 1);
    });
  });
}

function linear(outputs, inputs, step, start) {
  const support = Math.max(1, step);
  return Array.from({ length: outputs }, (_, index) => {
    const left = start + step * index, middle = left + step / 2;
    const seen = cut((Math.min(left + step, inputs) - Math.max(left, 0)) / step, 0, 1);
    if (seen === 0) return null;
    const first = Math.max(0, Math.floor(middle - support)), last = Math.min(inputs - 1, Math.ceil(middle + support));
    const raw = [];
    for (let at = first; at <= last; at++) raw.push(Math.max(0, 1 - Math.abs(at + 0.5 - middle) / support));
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return total === 0 ? null : { first, weights: raw.map((weight) => Math.fround((weight * seen) / total)) };
  });
}

function interpolated(input, taps, lines, [inputLine, inputStep], output, [outputLine, outputStep]) {
  taps.forEach((tap, at) => {
    if (tap === null) return;
    for (let line = 0; line < lines; line++) {
      let sum = 0, from = line * inputLine + tap.first * inputStep;
      for (const weight of tap.weights) {
        sum += input[from] * weight;
        from += inputStep;
      }
      output[line * outputLine + at * outputStep] = sum;
    }
  });
}

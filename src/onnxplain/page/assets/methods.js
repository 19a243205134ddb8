/** From gradients to maps: the methods of the page, with the defaults of onnxplain. */
import { normals } from "./noise.js";

/** What each method is called, whether its sign means something, and whether it runs many noisy copies. */
export const METHODS = {
  saliency: { title: "Gradient", signed: false, copies: false },
  gradient_x_input: { title: "Gradient × input", signed: true, copies: false },
  smoothgrad: { title: "SmoothGrad", signed: false, copies: true },
};

/**
 * Return the attribution of an input, as the model has it.
 *
 * `gradientAt(values)` is one run of the model; `step(done, all)` is awaited after each and may throw to end it.
 */
export async function attribution(method, values, gradientAt, smoothgrad, step) {
  if (method !== "smoothgrad") {
    const gradient = await gradientAt(values);
    return method === "saliency" ? gradient : gradient.map((number, index) => number * values[index]);
  }
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const deviation = Math.fround(smoothgrad.noise * Math.fround(high - low));
  const total = new Float64Array(values.length);
  for (let copy = 0; copy < smoothgrad.samples; copy++) {
    const noise = normals(values.length, smoothgrad.keys[copy]);
    const gradient = await gradientAt(values.map((value, index) => value + deviation * noise[index]));
    for (let index = 0; index < total.length; index++) total[index] += gradient[index];
    await step(copy + 1, smoothgrad.samples);
  }
  return Float32Array.from(total, (sum) => sum / smoothgrad.samples);
}

/** Return {map, signed} of an attribution: channels as one number, divided by the largest; signed is null or -1..1; null if one is no number. */
export function mapsOf(method, values, channels, layout) {
  const area = values.length / channels, map = new Float32Array(area);
  const signed = METHODS[method].signed ? new Float32Array(area) : null;
  const at = layout === "NHWC" ? (c, i) => i * channels + c : (c, i) => c * area + i;
  let largest = 0, finite = true;
  for (let index = 0; index < area; index++) {
    let sum = 0, most = 0;
    for (let channel = 0; channel < channels; channel++) {
      const value = values[at(channel, index)];
      sum = Math.fround(sum + value);
      most = Math.max(most, Math.abs(value));
    }
    if (signed) signed[index] = sum;
    map[index] = signed ? Math.abs(sum) : most;
    finite &&= Number.isFinite(map[index]);
    largest = Math.max(largest, map[index]);
  }
  if (!finite) return null;
  for (const values of [map, signed]) {
    if (values && largest > 0) for (let index = 0; index < area; index++) values[index] /= largest;
  }
  return { map, signed };
}

/**
 * All inference: this worker holds one model and one photo, and answers one order after the other.
 *
 * An order is {id, kind, ...}; its answer is {id, ...} or {id, refusal}; SmoothGrad reports {id, done, all} meanwhile.
 * {kind: "cancel"} ends what runs at its next step.
 */
import { boxInPhoto, detections } from "./detections.js";
import { openRuntime, openSession } from "./engine.js";
import { attribution, mapsOf } from "./methods.js";
import { readModel } from "./onnx_file.js";
import { fading, tensorOf, toPhoto } from "./preprocessing.js";
import { Refusal } from "./refusal.js";
import { signatureOf } from "./signature.js";

const CANCELLED = "cancelled";
let model = null, photo = null, cancelled = false, queue = Promise.resolve();

self.onmessage = ({ data }) => {
  if (data.kind === "cancel") {
    cancelled = true;
    return;
  }
  queue = queue.then(() => answer(data));
};

async function answer(order) {
  cancelled = false;
  try {
    const { transfer = [], ...found } = await ORDERS[order.kind](order);
    self.postMessage({ id: order.id, ...found }, transfer);
  } catch (error) {
    const known = error instanceof Refusal;
    if (!known) console.error(error);
    self.postMessage({ id: order.id, refusal: known ? error.message : `this failed: ${error.message ?? error}.` });
  }
}

const ORDERS = {
  async load({ source, name, engine, verbose }) {
    const bytes = source instanceof ArrayBuffer ? new Uint8Array(source) : await fetched(source, name);
    const signature = signatureOf(readModel(bytes, name), name);
    const started = performance.now();
    const runtime = await openRuntime(engine, verbose);
    const session = await openSession(runtime, bytes, name);
    const old = model?.session;
    model = { signature, session, ort: runtime.ort, name };
    await old?.release();
    if (photo) photo.values = null;
    const { labels } = signature, probability = signature.detector ? "identity" : signature.probability;
    const seconds = (performance.now() - started) / 1000;
    return { labels, probability, engine: runtime.title, seconds };
  },

  async explain({ id, bitmap, shown, row, target, versus, method, smoothgrad }) {
    if (bitmap) photo = { image: pixelsOf(bitmap), values: null };
    if (!photo) throw new Refusal("there is no photo yet.");
    const { signature } = model, started = performance.now();
    if (!photo.values) Object.assign(photo, tensorOf(photo.image, signature.preprocessing), { found: null });
    if (signature.detector && !photo.found) photo.found = await detected(signature.detector);
    const chosen = photo.found?.list.find((one) => one.row === row) ?? photo.found?.list[0];
    const wanted = target < 0 && chosen ? chosen.index : target;
    const place = chosen?.row ?? null;
    const first = await run(photo.values, wanted < 0 && !signature.predicts ? 0 : wanted, place);
    const scores = chosen ? confidencesOf(chosen.row) : first.scores.slice();
    const explained = wanted < 0 ? best(scores) : wanted;
    const held = wanted < 0 && !signature.predicts ? null : first;
    const question = [[explained, held], ...(versus === null ? [] : [[versus, null]])];
    const parts = [];
    for (const [which, known] of question) {
      const at = async (values) =>
        (known && values === photo.values ? known : await run(values, which, place)).gradient;
      const step = async (done, all) => {
        self.postMessage({ id, done: done + all * parts.length, all: all * question.length });
        await breathe();
        if (cancelled) throw new Refusal(CANCELLED);
      };
      parts.push(await attribution(method, photo.values, at, smoothgrad, step));
    }
    const [attributed, other] = parts;
    if (other) for (let index = 0; index < attributed.length; index++) attributed[index] -= other[index];
    const channels = signature.preprocessing.channels === "L" ? 1 : 3;
    const maps = mapsOf(method, attributed, channels, signature.preprocessing.layout);
    if (!maps) throw new Refusal("the gradient is no finite number somewhere, so there is no map of this photo.");
    const map = toPhoto(maps.map, photo.geometry, shown);
    const signed = maps.signed && toPhoto(maps.signed, photo.geometry, shown);
    const seconds = (performance.now() - started) / 1000;
    const found = photo.found?.list.map((one) => ({ ...one, box: boxInPhoto(one.box, photo.geometry) }));
    const transfer = [map.buffer, ...(signed ? [signed.buffer] : [])];
    return { map, signed, faded: fading(photo.geometry, shown), scores, target: explained, row: place, found, seconds, transfer };
  },
};

async function fetched(url, name) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Refusal(`${name} cannot be loaded: the server says ${answer.status}.`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** The pixels of a bitmap; what is transparent lies over white. */
function pixelsOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** One run of the model: {scores, gradient} of values for a class, at a row of a detector; null weighs none of them. */
async function run(values, target, row) {
  const { signature } = model;
  const outputs = await outputsOf(values, target, row, [signature.scores, signature.gradient]);
  return { scores: outputs[signature.scores].data, gradient: outputs[signature.gradient].data };
}

async function outputsOf(values, target, row, names) {
  const { signature, session, ort } = model, { Tensor } = ort;
  const { preprocessing, detector } = signature, [rows, columns] = photo.geometry.canvas;
  const channels = preprocessing.channels === "L" ? 1 : 3;
  const shape = preprocessing.layout === "NHWC" ? [1, rows, columns, channels] : [1, channels, rows, columns];
  const feeds = {
    [signature.image]: new Tensor("float32", values, shape),
    [signature.target]: signature.short
      ? new Tensor("int32", Int32Array.of(target), [1])
      : new Tensor("int64", BigInt64Array.of(BigInt(target)), [1]),
  };
  if (detector) {
    const weights = new Float32Array(detector.count);
    if (row !== null) weights[row] = 1;
    feeds[detector.region] = new Tensor("float32", weights, [1, detector.count]);
  }
  return session.run(feeds, names);
}

/** What a detector finds in the photo, and how sure it is of every class at every row. */
async function detected({ boxes, confidence, overlap }) {
  const outputs = await outputsOf(photo.values, 0, null, [boxes, confidence]);
  const sure = outputs[confidence].data, list = detections(outputs[boxes].data, sure, overlap);
  if (!list.length) throw new Refusal("the model finds nothing in this photo.");
  return { list, confidence: sure };
}

function confidencesOf(row) {
  const { count } = model.signature.detector, { confidence } = photo.found, classes = confidence.length / count;
  return confidence.slice(row * classes, (row + 1) * classes);
}

const best = (scores) => scores.reduce((most, score, index) => (score > scores[most] ? index : most), 0);

/** Let messages in. */
const breathe = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    resolve();
  };
  port2.postMessage(0);
});

/**
 * What an ONNX file says of itself: its metadata, inputs and outputs.
 *
 * ONNX Runtime's build for browsers does not hand out metadata, so the few fields of the protobuf message that hold
 * them are read here; all others are skipped. Numbers of fields: onnx.proto.
 */
import { Refusal } from "./refusal.js";

const GRAPH = 7, METADATA = 14, INPUT = 11, OUTPUT = 12;
const decoder = new TextDecoder();

/** Return {metadata, inputs, outputs} of the bytes of a file; an input is {name, type, shape}, open extents null. */
export function readModel(bytes, name) {
  const found = { metadata: {}, inputs: [], outputs: [] };
  try {
    for (const [field, value] of fields(bytes)) {
      if (field === METADATA) {
        const [key, text] = strings(value);
        found.metadata[key] = text;
      } else if (field === GRAPH) {
        for (const [inner, part] of fields(value)) {
          if (inner === INPUT) found.inputs.push(tensor(part));
          if (inner === OUTPUT) found.outputs.push(tensor(part));
        }
      }
    }
  } catch (error) {
    throw new Refusal(`${name} is no ONNX model, or is damaged.`);
  }
  if (!found.inputs.length || !found.outputs.length) throw new Refusal(`${name} is no ONNX model, or is damaged.`);
  return found;
}

/** The fields of a message: numbers, each with a number or with the bytes of a string or message. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= bytes.length || factor > 2 ** 63) throw new RangeError("a number is cut off");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const slice = (length) => {
    if (at + length > bytes.length) throw new RangeError("a field is cut off");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint(), field = Math.floor(tag / 8), wire = tag % 8;
    if (wire === 0) yield [field, varint()];
    else if (wire === 1) yield [field, slice(8)];
    else if (wire === 2) yield [field, slice(varint())];
    else if (wire === 5) yield [field, slice(4)];
    else throw new RangeError("no such kind of field");
  }
}

function strings(message) {
  const found = ["", ""];
  for (const [field, value] of fields(message)) if (field <= 2) found[field - 1] = decoder.decode(value);
  return found;
}

function tensor(message) {
  const found = { name: "", type: 0, shape: [] };
  for (const [field, value] of fields(message)) {
    if (field === 1) found.name = decoder.decode(value);
    if (field !== 2) continue;
    for (const [kind, described] of fields(value)) {
      if (kind !== 1) continue;
      for (const [inner, part] of fields(described)) {
        if (inner === 1) found.type = part;
        if (inner === 2) for (const [, dim] of fields(part)) found.shape.push(extent(dim));
      }
    }
  }
  return found;
}

function extent(message) {
  for (const [field, value] of fields(message)) if (field === 1) return value;
  return null;
}

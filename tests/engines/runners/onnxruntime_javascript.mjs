// ONNX Runtime in Node: onnxruntime-node, or onnxruntime-web by WebAssembly.
// node onnxruntime_javascript.mjs PACKAGES PACKAGE ROUNDS FOLDER...
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const [packages, name, rounds, ...folders] = process.argv.slice(2);
const require = createRequire(path.join(packages, "package.json"));
const ort = require(name);
const version = JSON.parse(fs.readFileSync(path.join(packages, "node_modules", name, "package.json"))).version;
if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const arrays = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, uint8: Uint8Array, bool: Uint8Array };

for (const folder of folders) {
  const listed = JSON.parse(fs.readFileSync(path.join(folder, "feeds.json")));
  const feeds = {};
  for (const { name, dtype, shape, file } of listed.tensors) {
    const bytes = fs.readFileSync(path.join(folder, file));
    const copy = new Uint8Array(bytes).buffer;
    feeds[name] = new ort.Tensor(dtype, new arrays[dtype](copy), shape);
  }
  const model = new Uint8Array(fs.readFileSync(path.join(folder, "model.onnx")));
  const options = { executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(model, options);
  const found = await session.run(feeds);
  let seconds = Infinity;
  for (let round = 0; round < Number(rounds); round++) {
    const start = performance.now();
    await session.run(feeds);
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  const tensors = listed.outputs.map((output, index) => {
    const { data, dims, type } = found[output];
    const file = `found.json.${index}.bin`;
    fs.writeFileSync(path.join(folder, file), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    return { name: output, dtype: type, shape: dims, file };
  });
  fs.writeFileSync(path.join(folder, "found.json"), JSON.stringify({ tensors, version, seconds }));
}

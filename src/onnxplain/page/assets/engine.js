/** ONNX Runtime in a worker: by WebGPU where it is there, else by WebAssembly, with threads where the page may. */
import { Refusal } from "./refusal.js";

const RUNTIME = new URL("runtime/", import.meta.url).href;
const THREADS = 4;
let loaded = null;

/** Load ONNX Runtime for "webgpu", "threads", "single" or, with "auto", the fastest of them; once in a worker. */
export async function openRuntime(wanted, verbose) {
  if (loaded) return loaded;
  const isolated = self.crossOriginIsolated === true;
  const adapter = ["auto", "webgpu"].includes(wanted) ? await navigator.gpu?.requestAdapter() : null;
  if (wanted === "webgpu" && !adapter) throw new Refusal("this browser has no WebGPU.");
  if (wanted === "threads" && !isolated) throw new Refusal("threads need a server that isolates the page.");
  const ort = await import(adapter ? "./runtime/ort.webgpu.min.mjs" : "./runtime/ort.wasm.min.mjs");
  const threads = isolated && wanted !== "single" ? Math.min(THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.wasm.numThreads = threads;
  if (verbose) {
    ort.env.logLevel = "verbose";
    ort.env.debug = true;
  }
  const title = adapter ? "WebGPU" : threads > 1 ? `WebAssembly, ${threads} threads` : "WebAssembly, one thread";
  loaded = { ort, provider: adapter ? "webgpu" : "wasm", title, verbose };
  return loaded;
}

/** Return a session of a model's bytes. */
export async function openSession(runtime, bytes, name) {
  const options = { executionProviders: [runtime.provider] };
  if (runtime.verbose) Object.assign(options, { logSeverityLevel: 0, logVerbosityLevel: 1 });
  try {
    return await runtime.ort.InferenceSession.create(bytes, options);
  } catch (error) {
    throw new Refusal(`${name} cannot be run here: ${String(error.message ?? error).split("\n")[0]}`);
  }
}

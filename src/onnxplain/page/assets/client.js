/** The worker that does all inference, as promises. */
import { Refusal } from "./refusal.js";

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let last = 0;

worker.onmessage = ({ data }) => {
  const { id, refusal, done, all } = data, order = waiting.get(id);
  if (done !== undefined) {
    order.progress?.(done, all);
    return;
  }
  waiting.delete(id);
  if (refusal === undefined) order.resolve(data);
  else order.reject(new Refusal(refusal));
};
worker.onerror = (event) => {
  for (const order of waiting.values()) order.reject(new Refusal(`the worker failed: ${event.message ?? "it did not start"}.`));
  waiting.clear();
};

/** Send an order; `progress(done, all)` is called meanwhile. */
export function send(order, transfer = [], progress = null) {
  return new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject, progress });
    worker.postMessage({ ...order, id: last }, transfer);
  });
}

/** End what runs at its next step. */
export function cancel() {
  worker.postMessage({ kind: "cancel" });
}

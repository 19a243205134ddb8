/** What a detector found: its surest rows, as Explainer.detect returns them. */

const THRESHOLD = 0.25, LIMIT = 100;

/** Return [{row, index, confidence, box}], the surest first; boxes in pixels of the model's input. */
export function detections(boxes, confidence, overlap) {
  const count = boxes.length / 4, classes = confidence.length / count, found = [];
  for (let row = 0; row < count; row++) {
    const box = Array.from(boxes.subarray(4 * row, 4 * row + 4));
    let index = 0;
    for (let other = 1; other < classes; other++) {
      if (confidence[row * classes + other] > confidence[row * classes + index]) index = other;
    }
    const sure = confidence[row * classes + index];
    if (sure >= THRESHOLD && box[2] > box[0] && box[3] > box[1]) found.push({ row, index, confidence: sure, box });
  }
  found.sort((a, b) => b.confidence - a.confidence || a.row - b.row);
  const kept = [];
  for (const one of found) {
    const hidden = kept.some((other) => other.index === one.index && shared(other.box, one.box) > overlap);
    if (!hidden && kept.length < LIMIT) kept.push(one);
  }
  return kept;
}

/** The intersection over the union of two boxes. */
function shared(a, b) {
  const side = (axis) => Math.max(0, Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis]));
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]), both = side(0) * side(1);
  return both / (area(a) + area(b) - both);
}

/** Return a box (x0, y0, x1, y1) of the model's input as shares of the photo's sides, 0..1. */
export function boxInPhoto(box, { photo, resized, offset }) {
  return box.map((value, index) => {
    const axis = 1 - (index % 2);
    return Math.min(Math.max((value + offset[axis]) / resized[axis], 0), 1);
  });
}

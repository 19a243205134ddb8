/** What the page has to know of a differentiated model, from its metadata. */
import { Refusal } from "./refusal.js";

const FLOAT = 1, INT32 = 6, INT64 = 7;
const ADVICE = "write it with: onnxplain page MODEL -o FOLDER, and take it from FOLDER/models";

/** Return the signature of a file that readModel read, or refuse it. */
export function signatureOf(file, name) {
  const own = (key) => file.metadata[`onnxplain.${key}`];
  if (own("score") === undefined) {
    throw new Refusal(`${name} has no gradient in it: it is not differentiated; ${ADVICE}.`);
  }
  if (own("photo") !== undefined) {
    throw new Refusal(`${name} has its preprocessing inside, which this page does not run; ${ADVICE}.`);
  }
  if (own("preprocessing") === undefined) {
    throw new Refusal(`${name} does not say how photos become its input (onnxplain.preprocessing); ${ADVICE}.`);
  }
  const target = file.inputs.find((input) => input.name === own("target"));
  const region = file.inputs.find((input) => input.name === own("region"));
  const others = file.inputs.filter((input) => input !== target && input !== region);
  const image = others.find((input) => own(`grad.${input.name}`) !== undefined);
  if (!target || ![INT32, INT64].includes(target.type) || others.length !== 1 || !image || image.type !== FLOAT) {
    throw new Refusal(`${name} asks for other inputs than a photo and a class; ${ADVICE}.`);
  }
  const scores = own("class_scores") ?? own("score_tensor");
  const output = file.outputs.find((one) => one.name === scores);
  const labels = own("labels") === undefined ? null : JSON.parse(own("labels"));
  if (!output || output.shape.length !== 2) {
    throw new Refusal(`${name} has no output with one score for each class; ${ADVICE}.`);
  }
  return {
    image: image.name,
    shape: image.shape,
    target: target.name,
    short: target.type === INT32,
    region: region ? { name: region.name, shape: region.shape } : null,
    score: own("score"),
    scores,
    gradient: own(`grad.${image.name}`),
    boxes: own("boxes") ?? null,
    confidence: own("confidence") ?? null,
    predicts: own("class_scores") !== undefined,
    probability: own("probability") ?? null,
    labels: Array.isArray(labels) ? labels : null,
    preprocessing: JSON.parse(own("preprocessing")),
  };
}

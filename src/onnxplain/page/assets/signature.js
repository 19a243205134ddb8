/** What the page has to know of a differentiated model, from its metadata. */
import { Refusal } from "./refusal.js";

const FLOAT = 1, INT32 = 6, INT64 = 7;
/** The defaults of onnxplain.Preprocessing. */
const DEFAULTS = {
  resize: "none",
  size: null,
  filter: "bilinear",
  crop: null,
  crop_rounding: "torchvision",
  pad_color: [0, 0, 0],
  channels: "RGB",
  scale: 1 / 255,
  mean: [0],
  std: [1],
  invert: false,
  layout: "NCHW",
};
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
  const region = file.inputs.find((input) => input.name === own("region") && own("boxes") && own("confidence"));
  const others = file.inputs.filter((input) => input !== target && input !== region);
  const image = others.find((input) => own(`grad.${input.name}`) !== undefined);
  if (!target || ![INT32, INT64].includes(target.type) || others.length !== 1 || !image || image.type !== FLOAT) {
    throw new Refusal(`${name} asks for other inputs than a photo and a class; ${ADVICE}.`);
  }
  const output = scoresOf(file, own);
  const labels = own("labels") === undefined ? null : JSON.parse(own("labels"));
  if (!output) {
    throw new Refusal(`${name} has no output with one score for each class; ${ADVICE}.`);
  }
  return {
    image: image.name,
    target: target.name,
    short: target.type === INT32,
    scores: output.name,
    detector: region && {
      region: region.name,
      count: region.shape[1],
      boxes: own("boxes"),
      confidence: own("confidence"),
      overlap: Number(own("overlap") ?? 0.45),
    },
    gradient: own(`grad.${image.name}`),
    predicts: own("class_scores") !== undefined,
    // What comes behind the tensor that is explained has been through the softmax that the gradient looks through.
    probability: [own("class_scores"), own("score_tensor")].includes(output.name) ? own("probability") : "identity",
    labels: Array.isArray(labels) ? labels : null,
    preprocessing: { ...DEFAULTS, ...JSON.parse(own("preprocessing")) },
  };
}

/** The output with a score for each class: ours, the one that is explained, or the one that is computed from it. */
function scoresOf(file, own) {
  const added = Object.keys(JSON.parse(own("outputs") ?? "{}"));
  const named = [own("class_scores"), own("score_tensor")].map((name) => file.outputs.find((one) => one.name === name));
  const others = file.outputs.filter((one) => !added.includes(one.name));
  return [...named, ...(others.length === 1 ? others : [])].find((one) => one?.type === FLOAT && one.shape.length === 2);
}

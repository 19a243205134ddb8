/** The page: what its controls do. Inference is the worker's, see worker.js. */
import { cancel, send } from "./client.js";
import { laidOver, levels, tableOf } from "./drawing.js";
import { classOf, readLink, writeLink } from "./link.js";
import { METHODS } from "./methods.js";
import { npy } from "./npy.js";
import { Picker, option, probabilitiesOf } from "./picker.js";
import { Refusal } from "./refusal.js";
import { Webcam } from "./webcam.js";

/** The longer side of a photo as it is shown; the model gets all of its pixels. */
const SIDE = 1024;
const byId = (id) => document.getElementById(id);
const link = readLink();
const state = { facts: null, model: null, own: false, row: null, target: classOf(link.class), versus: classOf(link.versus) };
let asked = 0;

const explained = new Picker(byId("class"), { chosen: (index) => change({ target: index }) });
const contrasted = new Picker(byId("versus"), { none: "no class", chosen: (index) => change({ versus: index }) });
const webcam = new Webcam(byId("video"), {
  explain: (bitmap) => show(bitmap),
  told: (rate, dropped) => say(`${rate.toFixed(1)} maps a second; ${dropped} frames dropped.`),
});

async function start() {
  state.facts = await (await fetch("page.json")).json();
  fill(byId("colours"), Object.keys(state.facts.colours).map((name) => [name, name.replace("_", " ")]));
  fill(byId("method"), Object.entries(METHODS).map(([name, { title }]) => [name, title]));
  fill(byId("model"), state.facts.models.map(({ name }) => [name, name]));
  byId("samples").value = state.facts.smoothgrad.samples;
  if (Object.hasOwn(METHODS, link.method)) byId("method").value = link.method;
  if (state.facts.models.some(({ name }) => name === link.model)) byId("model").value = link.model;
  adapt();
  await loadListed();
}

function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
}

/** Load the model that is chosen in the list. */
async function loadListed() {
  const name = byId("model").value, size = state.facts.models.find((model) => model.name === name).bytes;
  say(`Loading ${name}, ${(size / 1e6).toFixed(1)} MB …`);
  await load(new URL(`models/${name}.onnx`, location.href).href, name, false);
}

async function loadFile(file) {
  say(`Loading ${file.name} …`);
  const source = await file.arrayBuffer();
  await load(source, file.name, true);
}

async function load(source, name, own) {
  complain("");
  const order = { kind: "load", source, name, engine: link.engine ?? "auto", verbose: link.log === "verbose" };
  try {
    const before = state.model;
    state.model = await send(order, source instanceof ArrayBuffer ? [source] : []);
    state.own = own;
    if (before) Object.assign(state, { row: null, target: null, versus: null });
    remember();
    byId("engine").textContent = `${own ? `${name}; ` : ""}${state.model.engine}.`;
    document.body.dataset.ready = name;
    say("Choose a photo, or take the example.");
    if (state.photo) await explain();
  } catch (error) {
    refuse(error);
  }
}

/** Take a photo from a file: decode it and explain it. */
async function take(file) {
  webcam.stop();
  pressed();
  complain("");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    refuse(new Refusal(`${file.name || "this"} is no photo that this browser can read.`));
    return;
  }
  if (state.photo) Object.assign(state, { row: null, target: null, versus: null });
  await show(bitmap);
}

/** Explain a bitmap; the page shows it once its map is there. */
async function show(bitmap) {
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { fillStyle: "white", imageSmoothingQuality: "high" });
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  await explain({ bitmap, photo: context.getImageData(0, 0, width, height) });
}

/** Ask for a map of the photo, a new one or that which is shown. */
async function explain({ bitmap = null, photo = state.photo } = {}) {
  if (!state.model || !photo) return;
  const mine = ++asked, method = byId("method").value, { smoothgrad } = state.facts;
  cancel();
  complain("");
  if (!webcam.running) say("Working …");
  const samples = Math.min(Math.max(1, Math.trunc(Number(byId("samples").value)) || 1), smoothgrad.keys.length);
  const order = {
    kind: "explain",
    bitmap,
    shown: [photo.height, photo.width],
    row: state.row,
    target: state.target ?? -1,
    versus: state.versus,
    method,
    smoothgrad: { ...smoothgrad, samples },
  };
  byId("progress-row").hidden = !METHODS[method].copies;
  byId("progress").removeAttribute("value");
  try {
    const found = await send(order, bitmap ? [bitmap] : [], (done, all) => {
      Object.assign(byId("progress"), { max: all, value: done });
    });
    if (mine === asked) present(found, photo, method);
  } catch (error) {
    if (mine === asked) refuse(error);
  } finally {
    if (mine === asked) byId("progress-row").hidden = true;
  }
}

function present(found, photo, method) {
  Object.assign(state, { photo, found });
  const { labels, probability, engine } = state.model, { scores, target } = found;
  const probabilities = probabilitiesOf(scores, probability, labels);
  explained.show({ labels, scores, probabilities, value: target });
  contrasted.show({ labels, scores, probabilities, value: state.versus });
  for (const id of ["figure", "reveal-label"]) byId(id).hidden = false;
  for (const id of ["save-png", "save-npy"]) byId(id).disabled = false;
  showFound(found);
  draw();
  const against = state.versus === null ? "" : ` rather than ${contrasted.label(state.versus)}`;
  const text = `${explained.label(target)}${against}: ${explained.share(target)}`;
  byId("map").setAttribute("aria-label", `${METHODS[method].title} for ${text}, laid over the photo`);
  if (!webcam.running) say(`${text}. ${found.seconds.toFixed(2)} s by ${engine}.`);
  remember();
}

/** Show what a detector found: a list to choose from, and boxes in the picture. */
function showFound({ found = [], row }) {
  const choose = byId("found"), { labels } = state.model, name = (index) => labels?.[index] ?? `class ${index}`;
  choose.hidden = !found.length;
  const share = (one) => `${(100 * one.confidence).toFixed(1)} %`;
  const options = found.map((one) => option("found", one.row, name(one.index), share(one), one.row === row));
  const focused = document.activeElement?.name === "found";
  choose.querySelector(".options").replaceChildren(...options);
  if (focused) choose.querySelector("input:checked").focus();
  byId("boxes").replaceChildren(...found.map((one) => {
    const box = document.createElement("div"), [left, top, right, bottom] = one.box.map((share) => 100 * share);
    box.className = one.row === row ? "chosen" : "";
    Object.assign(box.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    return box;
  }));
}

function draw() {
  const { photo, found } = state;
  if (!found) return;
  const signed = byId("signed").checked && found.signed !== null;
  const level = levels(signed ? found.signed : found.map, photo.width, photo.height, signed, found.faded);
  const picture = laidOver(photo, level, tableOf(state.facts.colours[byId("colours").value]), byId("opacity").value / 100, signed);
  for (const [id, image] of [["photo", photo], ["map", picture]]) {
    Object.assign(byId(id), { width: image.width, height: image.height });
    byId(id).getContext("2d").putImageData(image, 0, 0);
  }
  byId("stage").style.width = `calc(70vh * ${photo.width / photo.height})`;
  reveal();
}

function reveal() {
  byId("map").style.clipPath = `inset(0 0 0 ${byId("reveal").value}%)`;
}

function change(changes) {
  Object.assign(state, changes);
  remember();
  explain();
}

/** Show the controls that the method has. */
function adapt() {
  const { signed, copies } = METHODS[byId("method").value];
  byId("samples-label").hidden = !copies;
  byId("signed").disabled = !signed;
  byId("colours").value = signed && byId("signed").checked ? "diverging_dark" : "inferno";
}

function remember() {
  const model = state.own ? null : byId("model").value;
  writeLink({ ...link, model, class: state.target, versus: state.versus, method: byId("method").value });
}

function point(x, y) {
  const { photo, found } = state;
  const column = Math.min(Math.max(Math.floor(x), 0), photo.width - 1), row = Math.min(Math.max(Math.floor(y), 0), photo.height - 1);
  const values = byId("signed").checked && found.signed ? found.signed : found.map;
  byId("value").textContent = `${values[row * photo.width + column].toFixed(4)} at column ${column}, row ${row}`;
  state.place = { column, row };
}

function moveCross() {
  const { photo, place: { column, row } } = state, cross = byId("cross");
  cross.hidden = false;
  Object.assign(cross.style, { left: `${(100 * (column + 0.5)) / photo.width}%`, top: `${(100 * (row + 0.5)) / photo.height}%` });
}

function save(blob, suffix) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = `${byId("method").value}-${explained.label(state.found.target).split(",")[0].replace(/\W+/g, "_")}.${suffix}`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

function say(text) {
  byId("status").textContent = text;
}

function complain(text) {
  byId("error").textContent = text;
}

function refuse(error) {
  if (!(error instanceof Refusal)) console.error(error);
  say(error.message === "cancelled" ? "Cancelled." : "");
  if (error.message !== "cancelled") complain(error instanceof Refusal ? error.message : `This failed: ${error.message}`);
}

function pressed() {
  byId("webcam").setAttribute("aria-pressed", String(webcam.running));
}

async function toggleWebcam() {
  complain("");
  if (webcam.running) {
    webcam.stop();
    asked += 1; // what is being explained is not shown any more
    say("The webcam is off.");
  } else {
    if (METHODS[byId("method").value].copies) byId("method").value = "saliency";
    adapt();
    Object.assign(state, { row: null, target: null, versus: null });
    await webcam.start().catch(() => complain("there is no webcam, or this page may not use it."));
  }
  pressed();
}

function takeAny(files) {
  const [file] = files;
  if (!file) return;
  if (file.name.toLowerCase().endsWith(".onnx")) loadFile(file);
  else take(file);
}

const on = (id, kind, act) => byId(id).addEventListener(kind, act);
for (const id of ["photo-file", "model-file"]) {
  on(id, "change", ({ target }) => {
    if (id === "photo-file" && target.files[0]) take(target.files[0]);
    if (id === "model-file" && target.files[0]) loadFile(target.files[0]);
    target.value = "";
  });
}
on("example", "click", async () => take(await (await fetch("example.jpg")).blob()));
on("webcam", "click", toggleWebcam);
on("cancel", "click", cancel);
on("model", "change", loadListed);
on("method", "change", () => {
  adapt();
  remember();
  explain();
});
on("found", "change", ({ target }) => change({ row: Number(target.value), target: null, versus: null }));
on("samples", "change", () => explain());
on("signed", "change", () => {
  adapt();
  draw();
});
for (const id of ["opacity", "colours"]) on(id, "input", draw);
on("reveal", "input", reveal);
on("map", "pointermove", ({ offsetX, offsetY, target }) => {
  byId("cross").hidden = true;
  point((offsetX * target.width) / target.clientWidth, (offsetY * target.height) / target.clientHeight);
});
on("map", "keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const far = event.shiftKey ? 1 : 10, { width, height } = state.photo;
  const { column, row } = state.place ?? { column: Math.floor(width / 2), row: Math.floor(height / 2) };
  point(column + far * step[0], row + far * step[1]);
  moveCross();
});
on("map", "blur", () => (byId("cross").hidden = true));
on("save-png", "click", () => byId("map").toBlob((blob) => save(blob, "png")));
on("save-npy", "click", () => {
  const { found, photo } = state, values = byId("signed").checked && found.signed ? found.signed : found.map;
  save(new Blob([npy(values, photo.height, photo.width)]), "npy");
});
on("link", "click", async () => {
  await navigator.clipboard.writeText(location.href).then(() => say("The link is copied."), () => say(location.href));
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", () => document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  takeAny(event.dataTransfer.files);
});
addEventListener("paste", (event) => takeAny(event.clipboardData.files));
start().catch(refuse);

// The page: what a person does, and what is shown. All computing is the worker's (engine.js).
import * as viewer from "./viewer.js";
import {chooseTile} from "./tiles.js";
import {measure, measured, start as startBenchmark} from "./benchmark.js";

const element = (id) => document.getElementById(id);
const MOST_PIXELS = 64e6; // of the result; more than that phones have no memory for

let catalog = null;
let image = null; // {rgba, height, width, name}
let worker = null;
let workerBackend = null;
let busy = false;

export const state = {
  get model() { return catalog.models[Number(element("model").value)]; },
  get backend() { return element("backend").value; },
  get catalog() { return catalog; },
};

export function say(text) { element("status").textContent = text; }

export function fail(text) {
  element("error").textContent = text;
  element("error").hidden = false;
  say("");
  finish();
  tellServer(text);
}

// A page that measures unasked has nobody who reads what it shows.
export function tellServer(text) {
  if (!catalog?.receiver || !location.hash.includes("backend=")) return;
  fetch("failure", {method: "POST", headers: {"Content-Type": "text/plain"}, body: text});
}

// Give the worker a request; a request while one runs is ignored by the buttons being disabled.
export function ask(request, transfer) {
  element("error").hidden = true;
  if (!worker || workerBackend !== state.backend) {
    stopWorker();
    worker = new Worker("worker.js");
    workerBackend = state.backend;
    worker.addEventListener("message", ({data}) => answered(data));
    worker.addEventListener("error", (event) => {
      stopWorker();
      fail(`The worker of this page failed; load the page again. (${event.message ?? ""})`);
    });
  }
  setBusy(true);
  worker.postMessage({...request, backend: state.backend, model: state.model}, transfer ?? []);
}

function stopWorker() {
  worker?.terminate();
  worker = null;
}

function setBusy(now) {
  busy = now;
  element("cancel").hidden = !now;
  element("progress").hidden = !now;
  element("bench").disabled = now;
  element("again").disabled = now || !image;
}

function finish() { setBusy(false); }

const answers = {
  progress({stage, done, total}) {
    const bar = element("progress");
    if (total) bar.value = done / total; else bar.removeAttribute("value");
    say(total ? `${stage}: ${done} of ${total}` : `${stage} ...`);
  },
  fidelity() {},
  wrong({fidelity}) {
    fail(`Wrong picture: by this backend the model gives other pixels than on the CPU `
      + `(largest difference ${fidelity.max_abs.toPrecision(2)}, `
      + `${fidelity.psnr_db.toFixed(1)} dB), so its result is not shown. Choose another backend.`);
  },
  result({before, rgba, height, width, tiles, runMs, totalMs}) {
    viewer.show(before, rgba, height, width);
    element("download").disabled = false;
    const seconds = (ms) => (ms / 1000).toFixed(2);
    element("facts").textContent = `${image.width}x${image.height} to ${width}x${height} in `
      + `${tiles} tile${tiles === 1 ? "" : "s"}: ${seconds(runMs)} s, with opening `
      + `${seconds(totalMs)} s, by ${element("backend").selectedOptions[0].textContent}.`;
    say("Done.");
    finish();
  },
  measured(result) {
    say(result.fidelity.passed ? "Measured." : "Measured: wrong picture.");
    finish();
    measured(result);
  },
  error({reason, lost}) {
    if (lost) stopWorker();
    // A worker whose runtime failed cannot load it again.
    else if (busy) stopWorker();
    fail(reason);
  },
};

function answered(message) { answers[message.type](message); }

export function upscale() {
  const {model} = state;
  const pixels = model.scale ** 2 * image.height * image.width;
  if (pixels > MOST_PIXELS) {
    fail(`This image is too large: ${image.width}x${image.height} would become `
      + `${Math.round(pixels / 1e6)} megapixels, allowed are ${MOST_PIXELS / 1e6}; choose a `
      + "smaller one.");
    return;
  }
  if (!chooseTile(model, image.height, image.width)) {
    fail(`${model.name} has no tile for an image of ${image.width}x${image.height}; choose `
      + "another model.");
    return;
  }
  const {rgba, height, width} = image;
  ask({type: "upscale", rgba, height, width});
}

async function take(file) {
  if (!file || busy) return;
  element("error").hidden = true;
  say("Reading the image ...");
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.fillStyle = "#fff"; // transparent pixels are shown on white
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0);
    const {data, height, width} = context.getImageData(0, 0, canvas.width, canvas.height);
    image = {rgba: data, height, width, name: file.name || "image"};
  } catch {
    fail("This file cannot be read as an image here; choose a JPEG, PNG or WebP.");
    return;
  }
  upscale();
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function download() {
  element("after").toBlob((blob) => {
    if (!blob) return fail("This browser cannot make a PNG that large; choose a smaller image.");
    const stem = image.name.replace(/\.[^.]*$/, "");
    return save(blob, `${stem}_x${state.model.scale}.png`);
  }, "image/png");
}

function listen() {
  for (const id of ["choose", "camera"]) {
    element(id).addEventListener("change", (event) => {
      take(event.target.files[0]);
      event.target.value = "";
    });
  }
  addEventListener("paste", (event) => take(event.clipboardData?.files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    element("drop").classList.add("over");
  });
  addEventListener("dragleave", () => element("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    element("drop").classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  element("again").addEventListener("click", upscale);
  element("download").addEventListener("click", download);
  element("cancel").addEventListener("click", () => {
    stopWorker();
    say("Cancelled.");
    finish();
  });
}

// Where the host sets no headers of isolation, a service worker does; one reload puts it in place.
async function isolate() {
  if (self.crossOriginIsolated || !navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    if (!sessionStorage.getItem("isolated")) {
      sessionStorage.setItem("isolated", "tried");
      location.reload();
    }
  } catch {
    // Without it WASM runs on one thread.
  }
}

// `edgesr bench browser` opens the page with what to measure in its address.
function measureUnasked() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (!wanted.has("backend")) return;
  element("backend").value = wanted.get("backend");
  measure({runs: Number(wanted.get("runs")), warmUp: Number(wanted.get("warm-up")), driftS: 0});
}

async function main() {
  viewer.start();
  startBenchmark();
  listen();
  await isolate();
  try {
    const answer = await fetch("models.json");
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    catalog = await answer.json();
  } catch (error) {
    fail(`The list of models cannot be fetched; build the page again. (${error.message})`);
    return;
  }
  for (const [index, model] of catalog.models.entries()) {
    element("model").add(new Option(`${model.name} x${model.scale}`, index));
  }
  if (!navigator.gpu) element("backend").value = "wasm";
  const notes = [];
  if (!navigator.gpu) notes.push("This browser offers no WebGPU here: WASM is chosen.");
  if (!self.crossOriginIsolated) notes.push("WASM runs on one thread here.");
  say(["Ready.", ...notes].join(" "));
  document.body.dataset.isolated = self.crossOriginIsolated ? "yes" : "no";
  document.body.dataset.ready = "yes";
  measureUnasked();
}

main();

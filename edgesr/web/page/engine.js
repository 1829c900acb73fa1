// Runs a .tflite by LiteRT.js, in a worker. No result is trusted that was not compared: every file
// is first run on a reference crop whose output by the CPU came with the page.
import {bicubic} from "./bicubic.js";
import {chooseTile, readTile, writeTile} from "./tiles.js";

const RUNTIME = new URL("./runtime/", import.meta.url);
const opened = new Map(); // file name of a tile -> {compiled, fidelity, compileMs, firstMs}
let runtime = null;
let adapter = null;
let lost = Promise.resolve(false); // true once the GPU is gone and that was told

export async function handle(request, post) {
  const run = {upscale, benchmark}[request.type];
  await load(request.backend, post);
  try {
    await run(request, post);
  } catch (error) {
    // What fails because the GPU was lost is told as that, once.
    const wait = new Promise((resolve) => setTimeout(resolve, 500, false));
    if (await Promise.race([lost, wait])) return;
    throw error;
  }
}

async function load(backend, post) {
  if (runtime) return;
  if (backend === "webgpu") adapter = await describeAdapter();
  try {
    runtime = await import(new URL("index.js", RUNTIME));
    const threads = backend === "wasm" && self.crossOriginIsolated === true;
    const wasm = new URL("wasm/", RUNTIME);
    // In a worker there is no script element that the runtime could find its files by.
    self.Module = {
      locateFile: (name) => new URL(name, wasm).href,
      mainScriptUrlOrBlob: new URL("litert_wasm_threaded_internal.js", wasm).href,
    };
    await runtime.loadLiteRt(wasm.href, {threads});
  } catch (error) {
    runtime = null;
    throw new Error("The runtime could not be loaded; connect to where this page came from and "
      + `load it again. (${error?.message ?? error})`);
  }
  if (backend === "webgpu") {
    const device = runtime.getDefaultEnvironment().webGpuDevice;
    if (!device) throw new Error("This browser gave no WebGPU device; choose WASM.");
    self.lentDevice = device; // so that a test can take it away
    lost = device.lost.then(({message}) => {
      post({
        type: "error", lost: true,
        reason: `The GPU was lost; try again, or choose WASM. (${message || "no reason given"})`,
      });
      return true;
    });
  }
}

async function describeAdapter() {
  const found = await self.navigator.gpu?.requestAdapter({powerPreference: "high-performance"});
  if (!found) {
    throw new Error("This browser offers no WebGPU here (it needs https or localhost, and a GPU "
      + "that the browser supports); choose WASM.");
  }
  const info = found.info ?? {};
  const limits = {};
  for (const name of ["maxBufferSize", "maxStorageBufferBindingSize", "maxTextureDimension2D"]) {
    limits[name] = found.limits[name];
  }
  return {
    vendor: info.vendor ?? "", architecture: info.architecture ?? "", device: info.device ?? "",
    description: info.description ?? "", half: found.features.has("shader-f16"), limits,
  };
}

async function fetchBytes(name) {
  let answer;
  try {
    answer = await fetch(new URL(name, import.meta.url));
  } catch {
    throw new Error(`${name} cannot be fetched; is the server that sent this page still there?`);
  }
  if (!answer.ok) {
    throw new Error(`${name} is missing on the server (HTTP ${answer.status}); build the page again.`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

// Compile a tile's file and compare it on the reference crop.
async function open(model, tile, backend) {
  if (opened.has(tile.file)) return opened.get(tile.file);
  const content = await fetchBytes(tile.file);
  const start = performance.now();
  const options = {accelerator: backend};
  if (backend === "webgpu") options.gpuOptions = {precision: "fp32"};
  let compiled;
  try {
    compiled = await runtime.loadAndCompile(content, options);
  } catch (error) {
    throw new Error(`LiteRT.js cannot open ${model.file.name} by ${backend}: `
      + `${error?.message ?? error}`);
  }
  const compileMs = performance.now() - start;
  if (backend === "webgpu" && !compiled.isFullyAccelerated) {
    throw new Error(`${model.file.name} does not run wholly on this GPU; choose WASM.`);
  }
  const entry = {compiled, compileMs, firstMs: 0, fidelity: null};
  await compare(model, tile, backend, entry);
  opened.set(tile.file, entry);
  return entry;
}

async function run(entry, tile, pixels) {
  const input = new runtime.Tensor(pixels, [1, tile.height, tile.width, 3]);
  const outputs = await entry.compiled.run(input);
  input.delete();
  const values = new Float32Array(await outputs[0].data());
  for (const output of outputs) output.delete();
  return values;
}

// The crop lies at the tile's top left; beyond its valid part the network sees what follows it.
async function compare(model, tile, backend, entry) {
  const {reference, scale} = model;
  const crop = await fetchBytes(reference.input);
  const expected = new Float32Array((await fetchBytes(reference.expected)).buffer);
  const pixels = new Float32Array(3 * tile.height * tile.width).fill(0.5);
  for (let y = 0; y < reference.height; y++) {
    for (let x = 0; x < 3 * reference.width; x++) {
      pixels[3 * tile.width * y + x] = crop[3 * reference.width * y + x] / 255;
    }
  }
  const start = performance.now();
  const got = await run(entry, tile, pixels);
  entry.firstMs = performance.now() - start;
  const {maxAbs, psnrDb} = difference(got, expected, reference, tile, scale);
  const gate = model.gates[backend];
  const passed = maxAbs <= gate.max_abs && psnrDb >= gate.psnr_db;
  entry.fidelity = {max_abs: maxAbs, psnr_db: psnrDb, passed};
}

function difference(got, expected, reference, tile, scale) {
  let maxAbs = 0;
  let sum = 0;
  const rows = scale * reference.valid_height;
  const columns = 3 * scale * reference.valid_width;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const error = Math.abs(got[3 * scale * tile.width * y + x]
        - expected[3 * scale * reference.width * y + x]);
      // Not a number counts as the largest error there is.
      if (!(error <= maxAbs)) maxAbs = Number.isFinite(error) ? error : Infinity;
      sum += error * error;
    }
  }
  const mean = sum / (rows * columns);
  // JSON knows no infinity: equal outputs count as 200 dB, not numbers as 0 dB.
  const psnrDb = mean === 0 ? 200 : Number.isFinite(mean) ? -10 * Math.log10(mean) : 0;
  return {maxAbs: Number.isFinite(maxAbs) ? maxAbs : 1e9, psnrDb: Math.max(-1e3, psnrDb)};
}

async function upscale({model, backend, rgba, height, width}, post) {
  const {tile, pieces} = chooseTile(model, height, width);
  const begin = performance.now();
  post({type: "progress", stage: "Opening the model and comparing it", done: 0, total: 0});
  const entry = await open(model, tile, backend);
  post({type: "fidelity", fidelity: entry.fidelity});
  if (!entry.fidelity.passed) {
    post({type: "wrong", fidelity: entry.fidelity});
    return;
  }
  const scale = model.scale;
  const before = bicubic(rgba, height, width, scale);
  const result = new Uint8ClampedArray(4 * scale * height * scale * width);
  const start = performance.now();
  const pixels = new Float32Array(3 * tile.height * tile.width);
  for (const [done, piece] of pieces.entries()) {
    post({type: "progress", stage: "Upscaling", done, total: pieces.length});
    readTile(rgba, height, width, piece, tile, pixels);
    writeTile(await run(entry, tile, pixels), piece, tile, scale, result, width);
  }
  const end = performance.now();
  post({
    type: "result", before, rgba: result, height: scale * height, width: scale * width,
    tiles: pieces.length, runMs: end - start, totalMs: end - begin,
  }, [result.buffer, before.buffer]);
}

// Timed runs of one tile, with the read-back of its result.
async function benchmark({model, backend, tile, runs, warmUp, driftS}, post) {
  post({type: "progress", stage: "Opening the model and comparing it", done: 0, total: 0});
  const entry = await open(model, tile, backend);
  const pixels = new Float32Array(3 * tile.height * tile.width).fill(0.5);
  const timed = async () => {
    const start = performance.now();
    await run(entry, tile, pixels);
    return performance.now() - start;
  };
  for (let turn = 0; turn < warmUp; turn++) await timed();
  const samples = [];
  for (let turn = 0; turn < runs; turn++) {
    post({type: "progress", stage: "Measuring", done: turn, total: runs});
    samples.push(await timed());
  }
  const drift = [];
  const start = performance.now();
  for (let at = 0; at < driftS; at = (performance.now() - start) / 1000) {
    post({type: "progress", stage: "Measuring drift", done: Math.floor(at), total: driftS});
    drift.push({at_s: at, ms: await timed()});
  }
  post({
    type: "measured", backend, threaded: self.crossOriginIsolated === true && backend === "wasm",
    compile_ms: entry.compileMs, first_ms: entry.firstMs, samples_ms: samples, drift,
    fidelity: entry.fidelity, adapter,
  });
}

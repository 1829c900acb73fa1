// The benchmark: asks the worker for times, shows them, and sends or saves the record.
import {ask, save, state, tellServer} from "./app.js";

const element = (id) => document.getElementById(id);
const SETTING = {runs: 20, warmUp: 3, driftS: 120};
let record = null;
let asked = null; // the request whose answer is awaited

export function start() {
  element("bench").addEventListener("click", () => measure({...SETTING,
    driftS: element("drift").checked ? SETTING.driftS : 0}));
  element("record").addEventListener("click", () => {
    save(new Blob([JSON.stringify(record, null, 2)], {type: "application/json"}), "browser.json");
  });
}

export function measure({runs, warmUp, driftS}) {
  const tiles = state.model.tiles;
  const tile = tiles[Math.min(1, tiles.length - 1)];
  asked = {tile, model: state.model, runs, warmUp, driftS};
  ask({type: "benchmark", tile, runs, warmUp, driftS});
}

const quantile = (sorted, share) => {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

function makeRecord(result) {
  const {tile, model, runs, warmUp, driftS} = asked;
  const stem = model.file.name.replace(/\.tflite$/, "").replace(/_\d+x\d+/, "");
  const name = `${stem}_${tile.height}x${tile.width}.tflite`;
  const {type, ...measured} = result;
  // Timers are coarse in some browsers: a run below their step counts as one microsecond.
  const above = (ms) => Math.max(0.001, ms);
  return {
    schema_version: 1, created_at: `${new Date().toISOString().slice(0, 19)}+00:00`,
    edgesr: state.catalog.edgesr, host: navigator.platform || "unknown",
    files: [{name, sha256: tile.sha256, size_bytes: tile.size_bytes}], on: "browser",
    machine: {
      user_agent: navigator.userAgent.slice(0, 400), platform: navigator.platform || "unknown",
      cpus: navigator.hardwareConcurrency || 1, isolated: self.crossOriginIsolated === true,
      runtime: state.catalog.runtime,
    },
    conditions: {runs, warm_up_runs: warmUp, drift_s: driftS},
    cases: [{
      ...measured, file: name, compile_ms: above(measured.compile_ms),
      first_ms: above(measured.first_ms), samples_ms: measured.samples_ms.map(above),
      drift: measured.drift.map(({at_s, ms}) => ({at_s, ms: above(ms)})),
    }],
  };
}

export async function measured(result) {
  record = makeRecord(result);
  show(record.cases[0], record);
  element("record").hidden = false;
  await send();
}

async function send() {
  if (!state.catalog.receiver) return;
  try {
    const answer = await fetch(state.catalog.receiver, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(record),
    });
    if (!answer.ok) tellServer(`its record was refused: ${await answer.clone().text()}`);
    element("sent").textContent = answer.ok ? "The record was received."
      : `The record was refused: ${await answer.text()}`;
  } catch {
    element("sent").textContent = "The record could not be sent; download it instead.";
  }
}

function show(found, whole) {
  const sorted = [...found.samples_ms].sort((a, b) => a - b);
  const ms = (value) => `${value.toFixed(2)} ms`;
  const {fidelity, adapter} = found;
  const verdict = fidelity.passed ? "right" : "wrong picture";
  const rows = [
    ["Pixels", fidelity.max_abs === 0 ? "right: equal to the CPU's"
      : `${verdict}: largest difference ${fidelity.max_abs.toPrecision(2)}, `
        + `${fidelity.psnr_db.toFixed(1)} dB against the CPU`],
    ["Median", ms(quantile(sorted, 0.5))], ["90th percentile", ms(quantile(sorted, 0.9))],
    ["Shortest", ms(sorted[0])], ["First run", ms(found.first_ms)],
    ["Compiling", ms(found.compile_ms)], ["Runs", String(sorted.length)],
    ["File", whole.files[0].name],
    ["Computed by", adapter ? [adapter.description, adapter.device, adapter.vendor,
      adapter.architecture].filter(Boolean).join(", ") || "an unnamed GPU"
      : `WASM, ${found.threaded ? "threads" : "one thread"}`],
    ["Browser", whole.machine.user_agent],
  ];
  const table = document.createElement("table");
  for (const [name, text] of rows) {
    const row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = text;
  }
  table.rows[0].cells[1].className = fidelity.passed ? "good" : "bad";
  element("measured").replaceChildren(table, ...(found.drift.length > 1 ? [curve(found.drift)] : []));
}

// Time of a run over the minutes, as a line.
function curve(drift) {
  const make = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const most = Math.max(...drift.map(({ms}) => ms));
  const last = drift.at(-1).at_s || 1;
  const points = drift.map(({at_s, ms}) => `${40 + 350 * at_s / last},${110 - 100 * ms / most}`);
  const svg = make("svg", {viewBox: "0 0 400 130", role: "img",
    "aria-label": `Time of a run over ${Math.round(last)} seconds, up to ${most.toFixed(1)} ms`});
  svg.append(make("polyline", {points: points.join(" ")}),
    make("text", {x: 0, y: 15}, `${most.toFixed(1)} ms`), make("text", {x: 0, y: 112}, "0"),
    make("text", {x: 40, y: 126}, "0 s"), make("text", {x: 360, y: 126}, `${Math.round(last)} s`));
  return svg;
}

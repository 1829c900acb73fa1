// The benchmark: asks the worker for times, shows them, and sends or saves the record.
import {ask, fail, save, say, state} from "./app.js";

const element = (id) => document.getElementById(id);
const SETTING = {runs: 20, warmUp: 3, driftS: 120};
let record = null;

export function start() {
  element("bench").addEventListener("click", () => {
    const query = new URLSearchParams(location.search);
    const tile = state.model.tiles.at(-1);
    ask({
      type: "benchmark", tile,
      runs: Number(query.get("runs")) || SETTING.runs,
      warmUp: SETTING.warmUp,
      driftS: element("drift").checked ? SETTING.driftS : 0,
    });
  });
  element("record").addEventListener("click", () => {
    save(new Blob([JSON.stringify(record, null, 2)], {type: "application/json"}), "browser.json");
  });
}

export function measured() {}

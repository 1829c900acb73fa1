"use strict";
// A classic worker, since the runtime loads its WASM by importScripts, which modules have not.
const engine = import("./engine.js");

addEventListener("message", async ({data}) => {
  try {
    await (await engine).handle(data, (message, transfer) => postMessage(message, transfer ?? []));
  } catch (error) {
    postMessage({type: "error", reason: String(error?.message ?? error)});
  }
});

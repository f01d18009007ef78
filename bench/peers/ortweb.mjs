// Times one model on onnxruntime-web's wasm backend (SIMD, threads), in Node, and prints one line of JSON.
//
//     node ortweb.mjs --peers DIR --model FILE --inputs CASE.inputs.npz --threads N [--seconds S] [--expected CASE.expected.npz]
//
// DIR holds node_modules with onnxruntime-web. After a warm-up the model runs for S seconds (1.5 unless told) and at least 5 times.
// With --expected, the largest difference from those outputs is printed too, so that a time is never taken of a wrong answer.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { readNpz } from "./npz.mjs";

const { values: options } = parseArgs({
  options: {
    peers: { type: "string" },
    model: { type: "string" },
    inputs: { type: "string" },
    expected: { type: "string" },
    threads: { type: "string", default: "1" },
    seconds: { type: "string", default: "1.5" },
  },
});
for (const name of ["peers", "model", "inputs"]) {
  if (!options[name]) {
    console.error(`--${name} is missing`);
    process.exit(2);
  }
}

const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
};

function tensors(ort, file) {
  const found = {};
  for (const [name, { type, shape, data }] of Object.entries(readNpz(file))) {
    if (!TYPES[type]) throw new Error(`${file}: ${name} has type ${type}, which this script does not pass on`);
    found[name] = new ort.Tensor(type, new TYPES[type](data), shape);
  }
  return found;
}

/** The largest difference, relative to the largest value of each output. */
function difference(outputs, expected) {
  let worst = 0;
  for (const [name, tensor] of Object.entries(expected)) {
    const here = outputs[name].data;
    let largest = 0;
    let apart = 0;
    for (let index = 0; index < tensor.data.length; index++) {
      largest = Math.max(largest, Math.abs(Number(tensor.data[index])));
      apart = Math.max(apart, Math.abs(Number(here[index]) - Number(tensor.data[index])));
    }
    worst = Math.max(worst, apart / (largest || 1));
  }
  return worst;
}

const entry = path.resolve(options.peers, "node_modules/onnxruntime-web/dist/ort.node.min.mjs");
const ort = await import(pathToFileURL(entry).href);
ort.env.wasm.numThreads = Number(options.threads);
ort.env.logLevel = "error";

const feeds = tensors(ort, options.inputs);
let start = performance.now();
const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(options.model)), {
  executionProviders: ["wasm"],
  graphOptimizationLevel: "all",
});
const load_ms = performance.now() - start;

start = performance.now();
const first = await session.run(feeds);
const first_ms = performance.now() - start;
const apart = options.expected ? difference(first, tensors(ort, options.expected)) : undefined;

const budget_ms = Number(options.seconds) * 1000;
start = performance.now();
for (let count = 0; count < 2 || performance.now() - start < budget_ms / 4; count++) await session.run(feeds);

const times = [];
start = performance.now();
while (times.length < 5 || performance.now() - start < budget_ms) {
  const before = performance.now();
  await session.run(feeds);
  times.push(performance.now() - before);
  if (times.length >= 3 && performance.now() - start > 10 * budget_ms) break;
}
times.sort((a, b) => a - b);

console.log(
  JSON.stringify({
    runtime: `onnxruntime-web ${ort.env.versions.web ?? ""}`.trim(),
    model: path.basename(options.model, ".onnx"),
    threads: Number(options.threads),
    load_ms,
    first_ms,
    median_ms: times[times.length >> 1],
    min_ms: times[0],
    p90_ms: times[Math.floor(times.length * 0.9)],
    runs: times.length,
    difference: apart,
  }),
);
// Its worker threads would keep the process alive.
process.exit(0);

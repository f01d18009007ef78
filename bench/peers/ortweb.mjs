// Runs one model on onnxruntime-web's wasm backend (SIMD, threads), in Node, and times it whenever it is told to.
//
//     node ortweb.mjs --peers DIR --model FILE --inputs CASE.inputs.npz --outputs FILE.npz --threads N
//
// DIR holds node_modules with onnxruntime-web. What comes in and goes out is as runtime.py says.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { readNpz, writeNpz } from "./npz.mjs";

const { values: options } = parseArgs({
  options: {
    peers: { type: "string" },
    model: { type: "string" },
    inputs: { type: "string" },
    outputs: { type: "string" },
    threads: { type: "string" },
  },
});
for (const name of ["peers", "model", "inputs", "outputs", "threads"]) {
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

function resident(field) {
  const line = fs.readFileSync("/proc/self/status", "utf8").split("\n").find((line) => line.startsWith(field));
  return Number(line.split(/\s+/)[1]) * 1024;
}

const entry = path.resolve(options.peers, "node_modules/onnxruntime-web/dist/ort.node.min.mjs");
const ort = await import(pathToFileURL(entry).href);
ort.env.wasm.numThreads = Number(options.threads);
ort.env.logLevel = "error";

const LEAST_RUNS = 2;
const MOST_RUNS = 5000;

async function times(seconds) {
  await session.run(feeds);
  const taken = [];
  const start = performance.now();
  while (taken.length < LEAST_RUNS || (performance.now() - start < seconds * 1000 && taken.length < MOST_RUNS)) {
    const before = performance.now();
    await session.run(feeds);
    taken.push(performance.now() - before);
  }
  return taken;
}

const feeds = tensors(ort, options.inputs);
const idle_bytes = resident("VmRSS");
let session;
try {
  const start = performance.now();
  session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(options.model)), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const loaded = performance.now();
  const outputs = await session.run(feeds);
  const first_ms = performance.now() - loaded;
  writeNpz(options.outputs, outputs);
  const runtime = `onnxruntime-web ${ort.env.versions.web ?? ""}`.trim();
  const facts = { runtime, load_ms: loaded - start, first_ms, idle_bytes, peak_bytes: resident("VmHWM") };
  console.log(JSON.stringify(facts));
} catch (error) {
  console.log(JSON.stringify({ error: String(error).slice(0, 400) }));
  process.exit(0);
}
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ times_ms: await times(Number(line)) }));
}
// Its worker threads would keep the process alive.
process.exit(0);

"""Runs one model on one peer, in a process of its own, and times it whenever it is told to.

    runtime.py onnxruntime|openvino --model FILE --inputs CASE.inputs.npz --outputs FILE.npz --threads N

All peers speak the same way (`ortweb.mjs` and the Rust peers too). When the model is loaded and has run once, its outputs are in FILE.npz and one
line of JSON is printed: {"runtime", "load_ms", "first_ms", "idle_bytes", "peak_bytes"}, or {"error"}. Memory is what the process had resident before
the model was loaded, and the most since. Then every line of stdin is a number of seconds, and its answer a line {"times_ms": [...]}: after one run that does
not count the model runs for so long, at least twice. The end of stdin ends the process.
"""

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

LEAST_RUNS, MOST_RUNS = 2, 5000


class OnnxRuntime:
    def __init__(self, threads):
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self.runtime, self.threads = onnxruntime, threads

    def load(self, model, inputs):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        self.session = self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.inputs = inputs

    def run(self):
        return self.session.run(self.names, self.inputs)


class OpenVino:
    """Shapes are fixed before compilation, as its guide advises for latency, and floats stay f32."""

    def __init__(self, threads):
        import openvino

        self.runtime, self.threads = openvino, threads

    def load(self, model, inputs):
        core = self.runtime.Core()
        read = core.read_model(model)
        names = [next(iter(sorted(output.get_names())), output.node.friendly_name) for output in read.outputs]
        read.reshape({name: list(array.shape) for name, array in inputs.items()})
        settings = {"INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(read, "CPU", settings)
        self.request, self.names, self.inputs = compiled.create_infer_request(), names, inputs

    def run(self):
        self.request.infer(self.inputs)
        return [self.request.get_output_tensor(index).data for index in range(len(self.names))]


PEERS = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def resident(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def times(run, seconds):
    run()
    taken, start = [], time.perf_counter()
    while len(taken) < LEAST_RUNS or (time.perf_counter() - start < seconds and len(taken) < MOST_RUNS):
        before = time.perf_counter()
        run()
        taken.append((time.perf_counter() - before) * 1e3)
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=sorted(PEERS))
    for name in ("model", "inputs", "outputs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    with np.load(arguments.inputs) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    try:
        peer = PEERS[arguments.peer](arguments.threads)
        # The mark of the most so far is set back, so that what the import took does not count.
        Path("/proc/self/clear_refs").write_text("5")
        idle, start = resident("VmRSS"), time.perf_counter()
        peer.load(arguments.model, inputs)
        loaded = time.perf_counter()
        outputs = peer.run()
        first = time.perf_counter()
        peak = resident("VmHWM")
        np.savez(arguments.outputs, **dict(zip(peer.names, outputs, strict=True)))
    except Exception as error:  # noqa: BLE001 - whatever a runtime throws is its answer
        print(json.dumps({"error": " ".join(f"{type(error).__name__}: {error}".split())[:400]}), flush=True)
        return
    facts = {"load_ms": (loaded - start) * 1e3, "first_ms": (first - loaded) * 1e3, "idle_bytes": idle, "peak_bytes": peak}
    print(json.dumps({"runtime": f"{arguments.peer} {version(arguments.peer)}", **facts}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"times_ms": times(peer.run, float(line))}), flush=True)


if __name__ == "__main__":
    main()

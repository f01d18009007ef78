"""Runs ONNX's node cases, the ones of `conformance/cases/onnx-node.bin`, on another runtime, and prints what passes as JSON.

    onnx_nodes.py STORE onnxruntime|tract [--every N] [--list FILE]

Every case counts: one that the runtime refuses is an error, one that ends the process as well. An output is right when its element type and shape are, and its
elements are equal within the case's own tolerance (relative 1e-3, absolute 1e-7; exact for everything but floats). Random operators are
compared like all others, as nobody repeats numpy's draws, so a handful passes nowhere.
"""

import argparse
import json
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np

HEADER = 64
TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64,
    12: np.uint32, 13: np.uint64, 16: ml_dtypes.bfloat16, 17: ml_dtypes.float8_e4m3fn, 18: ml_dtypes.float8_e4m3fnuz, 19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz, 21: ml_dtypes.uint4, 22: ml_dtypes.int4, 23: ml_dtypes.float4_e2m1fn, 24: ml_dtypes.float8_e8m0fnu, 25: ml_dtypes.uint2, 26: ml_dtypes.int2,
}  # fmt: skip
STRING = 8
PACKED_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}
# What numpy itself has, and so every runtime takes as it is.
PLAIN = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
SECONDS_A_CASE = 60
BANDS = [(13, "<=13"), (18, "14-18"), (22, "19-22"), (26, "23-26"), (10**9, "27-28")]


class Store:
    def __init__(self, path):
        content = zlib.decompress(Path(path).read_bytes()[HEADER:])
        (length,) = struct.unpack_from("<Q", content)
        self.index = json.loads(content[8 : 8 + length])
        self.data = content[8 + length :]

    def blob(self, number):
        start, length = self.index["blobs"][number]
        return self.data[start : start + length]

    def value(self, stored):
        """(element type, array) for a tensor, a list for a sequence, None or a value for an optional."""
        if "s" in stored:
            return [self.value(item) for item in stored["s"]]
        if "o" in stored:
            return None if stored["o"] is None else self.value(stored["o"])
        code, shape, blob = stored["t"]
        data = self.blob(blob)
        count = int(np.prod(shape, dtype=np.int64))
        if code == STRING:
            texts = []
            while data:
                (length,) = struct.unpack_from("<I", data)
                texts.append(data[4 : 4 + length].decode())
                data = data[4 + length :]
            return code, np.array(texts, dtype=object).reshape(shape)
        if code in PACKED_BITS:
            bits = PACKED_BITS[code]
            shifts = np.arange(8 // bits, dtype=np.uint8) * bits
            values = (np.frombuffer(data, np.uint8)[:, None] >> shifts & ((1 << bits) - 1)).reshape(-1)[:count]
            if code in (22, 26):
                values = ((values.astype(np.int8) ^ (1 << bits - 1)) - (1 << bits - 1)).astype(np.int8)
                return code, values.astype(TYPES[code]).reshape(shape)
            return code, values.astype(np.uint8).view(TYPES[code]).reshape(shape)
        return code, np.frombuffer(data, TYPES[code])[:count].reshape(shape)


def same(expected, actual, rtol, atol):
    if isinstance(expected, list):
        return isinstance(actual, (list, tuple)) and len(actual) == len(expected) and all(same(e, a, rtol, atol) for e, a in zip(expected, actual))
    if expected is None or actual is None:
        return expected is None and actual is None
    code, expected = expected
    actual = np.asarray(actual)
    if expected.shape != actual.shape:
        return False
    if code == STRING:
        return [str(text) for text in expected.reshape(-1)] == [str(text) for text in actual.reshape(-1)]
    if expected.dtype != actual.dtype:
        return False
    if expected.dtype.kind in "biu" or code in PACKED_BITS or code >= 17:
        wide = np.float64 if code in (17, 18, 19, 20, 23, 24) else np.int64
        return bool(np.array_equal(expected.astype(wide), actual.astype(wide), equal_nan=wide is np.float64))
    return bool(np.allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True))


class OnnxRuntime:
    def __init__(self):
        import onnxruntime

        self.runtime = onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = 1
        self.options.log_severity_level = 4

    def run(self, model, inputs):
        session = self.runtime.InferenceSession(str(model), self.options, providers=["CPUExecutionProvider"])
        plain = all(not isinstance(value, tuple) or value[0] in PLAIN for value in inputs.values())
        exotic = any(output.type.startswith("tensor(") and any(word in output.type for word in ("bfloat", "float8", "float4", "int4", "int2")) for output in session.get_outputs())
        if plain and not exotic:
            return session.run(None, {name: array(value) for name, value in inputs.items()})
        values = {name: self.ort_value(value) for name, value in inputs.items()}
        return [self.numpy(value) for value in session.run_with_ort_values(None, values)]

    def ort_value(self, value):
        code, data = value
        if code in PLAIN:
            return self.runtime.OrtValue.ortvalue_from_numpy(data)
        if code in PACKED_BITS:
            bits = PACKED_BITS[code]
            per_byte = 8 // bits
            flat = data.reshape(-1).view(np.uint8) & ((1 << bits) - 1)
            flat = np.concatenate([flat, np.zeros(-len(flat) % per_byte, np.uint8)]).reshape(-1, per_byte)
            packed = (flat << (np.arange(per_byte, dtype=np.uint8) * bits)).sum(axis=1).astype(np.uint8)
            result = self.runtime.OrtValue.ortvalue_from_shape_and_type(list(data.shape), code)
            result.update_inplace(packed)
            return result
        width = np.uint16 if code == 16 else np.uint8
        return self.runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(data).view(width), code)

    def numpy(self, value):
        code = value.element_type()
        data = value.numpy()
        if code in PLAIN or data.dtype == TYPES.get(code):
            return data
        return data.view(TYPES[code]) if code not in PACKED_BITS else data


class Tract:
    def __init__(self):
        import tract

        self.runtime = tract.onnx()

    def run(self, model, inputs):
        loaded = self.runtime.load(model)
        names = [loaded.input_name(at) for at in range(loaded.input_count())]
        runnable = loaded.into_model().into_runnable()
        return [output.to_numpy() for output in runnable.run([array(inputs[name]) for name in names])]


def array(value):
    if isinstance(value, tuple):
        code, data = value
        if code not in PLAIN:
            raise NotImplementedError(f"element type {code} cannot be handed over")
        return data
    return [array(item) for item in value] if isinstance(value, list) else value


PEERS = {"onnxruntime": OnnxRuntime, "tract": Tract}


def judge(store, peer, case, folder):
    path = folder / "model.onnx"
    path.write_bytes(store.blob(case["model"]))
    inputs = {name: store.value(value) for name, value in case["inputs"]}
    try:
        outputs = peer.run(path, inputs)
    except Exception as error:  # noqa: BLE001 - whatever a runtime throws is its answer
        return "error", " ".join(str(error).split())[:200]
    expected = [store.value(value) for _, value in case["outputs"]]
    right = len(outputs) >= len(expected) and all(same(e, a, case["rtol"], case["atol"]) for e, a in zip(expected, outputs))
    return ("pass" if right else "wrong"), ""


def work(store, peer):
    """Child: one name a line comes in, one verdict a line goes out."""
    cases = {case["name"]: case for case in store.index["cases"]}
    running = PEERS[peer]()
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            verdict, why = judge(store, running, cases[line.strip()], Path(folder))
            print(f"{verdict} {why}", flush=True)


class Child:
    """A process that may die of any case."""

    def __init__(self, arguments):
        command = [sys.executable, __file__, arguments.store, arguments.peer, "--worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def ask(self, name):
        try:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
            return self.lines.get(timeout=SECONDS_A_CASE)
        except (queue.Empty, BrokenPipeError):
            return None

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--list")
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args()
    store = Store(arguments.store)
    if arguments.worker:
        return work(store, arguments.peer)
    bands = {name: {"cases": 0, "pass": 0, "wrong": 0, "error": 0} for _, name in BANDS}
    lines, child = [], Child(arguments)
    for case in store.index["cases"][:: arguments.every]:
        answer = child.ask(case["name"])
        if answer is None:
            child.end()
            child, answer = Child(arguments), "error the process ended or hung"
        verdict, _, why = answer.strip().partition(" ")
        band = bands[next(name for last, name in BANDS if case["opset"] <= last)]
        band["cases"] += 1
        band[verdict] += 1
        lines.append(f"{verdict}  {case['name']}  {why}\n")
    child.end()
    if arguments.list:
        Path(arguments.list).write_text("".join(lines))
    print(json.dumps({"peer": arguments.peer, "bands": bands}))


if __name__ == "__main__":
    main()

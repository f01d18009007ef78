"""Writes the store of ONNX's node cases, `conformance/cases/onnx-node.bin`, and the profiles, `conformance/profiles/*.txt`.

    python3 -m venv .venv && .venv/bin/pip install --requirement conformance/onnx/requirements.txt
    .venv/bin/python conformance/onnx/generate.py

The cases come from the `onnx` package itself, which makes them in process. The store begins with a header (see `conformance/src/store.rs`, which
reads it with checks) and holds one deflated block: an index as JSON, then every distinct sequence of bytes once.
"""

import hashlib
import json
import struct
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

import profiles

# What this version of the package has. Another number means that the package changed: look at what came or went, then change it here
# and in conformance/src/store.rs.
EXPECTED_CASES = 1884
MAGIC = b"sunmao-cases\0\0\0\1"
FORMAT = 1
FOLDER = Path(__file__).resolve().parent.parent

DTYPES = {
    1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 8: "string", 9: "bool", 10: "f16", 11: "f64", 12: "u32", 13: "u64",
    14: "complex64", 15: "complex128", 16: "bf16", 17: "f8e4m3fn", 18: "f8e4m3fnuz", 19: "f8e5m2", 20: "f8e5m2fnuz", 21: "u4", 22: "i4",
    23: "f4e2m1", 24: "f8e8m0", 25: "u2", 26: "i2",
}  # fmt: skip
PACKED_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}


class Blobs:
    """Byte sequences, each stored once."""

    def __init__(self):
        self.data, self.places, self.known = bytearray(), [], {}

    def add(self, data):
        if data not in self.known:
            self.known[data] = len(self.places)
            self.places.append([len(self.data), len(data)])
            self.data += data
        return self.known[data]


def collect():
    # Some cases draw numbers without a seed of their own.
    np.random.seed(0)
    from onnx.backend.test.case.node import collect_testcases

    cases = collect_testcases(None)
    if len(cases) != EXPECTED_CASES:
        raise SystemExit(f"onnx {onnx.__version__} makes {len(cases)} node cases, not {EXPECTED_CASES}")
    return sorted(cases, key=lambda case: case.name)


def element_bytes(array, code):
    """The elements as the host keeps them: little-endian and dense, strings framed, small types packed with the first element lowest."""
    if code == TensorProto.STRING:
        texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.reshape(-1)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if code in PACKED_BITS:
        bits = PACKED_BITS[code]
        per_byte = 8 // bits
        values = array.reshape(-1).view(np.uint8) & ((1 << bits) - 1)
        values = np.concatenate([values, np.zeros(-len(values) % per_byte, np.uint8)]).reshape(-1, per_byte)
        return bytes((values << (np.arange(per_byte, dtype=np.uint8) * bits)).sum(axis=1).astype(np.uint8))
    little = array if array.dtype.byteorder != ">" else array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(little).tobytes()


def tensor(value, declared, blobs, where):
    if isinstance(value, TensorProto):
        code, array = value.data_type, numpy_helper.to_array(value)
        shape = list(value.dims)
    else:
        array = np.asarray(value)
        code = TensorProto.STRING if array.dtype.kind in "OUS" else onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = list(array.shape)
    if code != declared:
        raise SystemExit(f"{where}: the value is {DTYPES[code]}, the model says {DTYPES.get(declared, declared)}")
    return {"t": [code, shape, blobs.add(element_bytes(array, code))]}


def convert(value, kind, blobs, where):
    """A value as the index has it: a tensor, a sequence or an optional, by the type that the model declares."""
    if kind.HasField("optional_type"):
        return {"o": None if value is None else convert(value, kind.optional_type.elem_type, blobs, where)}
    if kind.HasField("sequence_type"):
        return {"s": [convert(item, kind.sequence_type.elem_type, blobs, where) for item in value]}
    return tensor(value, kind.tensor_type.elem_type, blobs, where)


def named(values, infos, blobs, name):
    if len(values) != len(infos):
        raise SystemExit(f"{name}: {len(values)} values for {len(infos)} names")
    return [[info.name, convert(value, info.type, blobs, f"{name}: {info.name}")] for value, info in zip(values, infos)]


def operators(graph):
    """Every operator of a graph and of its blocks, in order of appearance, each once; other domains in front, with a dot."""
    found = {}
    for node in graph.node:
        found[node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"] = None
        for attribute in node.attribute:
            for block in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found.update(dict.fromkeys(operators(block)))
    return list(found)


def element_types(value):
    if "t" in value:
        return {value["t"][0]}
    items = value["s"] if "s" in value else [value["o"]] if value["o"] else []
    return set().union(*(element_types(item) for item in items))


def opset(model):
    """The opset of ai.onnx; a model of another domain alone gets the one that was current when the domain's version came out."""
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if "ai.onnx" in versions:
        return versions["ai.onnx"]
    released = {("ai.onnx.ml", 1): 8, ("ai.onnx.ml", 4): 19, ("ai.onnx.ml", 5): 21, ("ai.onnx.preview.training", 1): 12}
    return max(released[entry] for entry in versions.items())


def entry(case, subjects, blobs):
    if case.data_sets is None or len(case.data_sets) != 1:
        raise SystemExit(f"{case.name}: expected one data set")
    (inputs, outputs), graph = case.data_sets[0], case.model.graph
    inputs, outputs = named(inputs, graph.input, blobs, case.name), named(outputs, graph.output, blobs, case.name)
    used = operators(graph)
    # An expanded case is about the function whose body it is.
    subject = subjects.get(case.name.split("_expanded")[0])
    if "_expanded" in case.name and subject:
        used = [subject] + [op for op in used if op != subject]
    types = sorted(set().union(*(element_types(value) for _, value in inputs + outputs)))
    return {
        "name": case.name,
        "opset": opset(case.model),
        "operators": used,
        "dtypes": [DTYPES[code] for code in types],
        "model": blobs.add(case.model.SerializeToString(deterministic=True)),
        "rtol": case.rtol,
        "atol": case.atol,
        "inputs": inputs,
        "outputs": outputs,
    }


def write_store(cases, blobs):
    index = {"source": f"onnx {version('onnx')}", "blobs": blobs.places, "cases": cases}
    text = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
    payload = struct.pack("<Q", len(text)) + text + bytes(blobs.data)
    header = MAGIC + struct.pack("<IIQ", FORMAT, len(cases), len(payload)) + hashlib.sha256(payload).digest()
    packed = header + zlib.compress(payload, 9)
    (FOLDER / "cases").mkdir(exist_ok=True)
    (FOLDER / "cases/onnx-node.bin").write_bytes(packed)
    print(f"{len(cases)} cases, {len(payload)} bytes, {len(packed)} packed")


def main():
    collected = collect()
    subjects = {case.name: operators(case.model.graph)[0] for case in collected if "_expanded" not in case.name}
    blobs = Blobs()
    cases = [entry(case, subjects, blobs) for case in collected]
    write_store(cases, blobs)
    profiles.write(cases, FOLDER / "profiles")


if __name__ == "__main__":
    main()

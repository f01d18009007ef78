"""Computes single operations with tract: one JSON object a line comes in, one a line goes out.

In: {"op", "revision", "attributes": {key: value}, "inputs": [{"dtype", "shape", "bytes", "constant"} or null], "outputs": [{"dtype", "shape"}]},
element types as ONNX numbers them, bytes in hexadecimal. Out: {"outputs": [{"dtype", "shape", "bytes"}]} or {"refused": why}.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx_nodes import PLAIN, TYPES, Tract

CODES = {np.dtype(kind): code for code, kind in TYPES.items() if code in PLAIN}


def tensor(operand):
    return np.frombuffer(bytes.fromhex(operand["bytes"]), TYPES[operand["dtype"]]).reshape(operand["shape"])


def model(case):
    node = helper.make_node(case["op"], [], [f"y{at}" for at in range(len(case["outputs"]))], **case["attributes"])
    inputs, constants, given = [], [], {}
    for at, operand in enumerate(case["inputs"]):
        name = f"x{at}" if operand else ""
        node.input.append(name)
        if not operand:
            continue
        if operand["constant"]:
            constants.append(helper.make_tensor(name, operand["dtype"], operand["shape"], bytes.fromhex(operand["bytes"]), raw=True))
        else:
            inputs.append(helper.make_tensor_value_info(name, operand["dtype"], operand["shape"]))
            given[name] = (operand["dtype"], tensor(operand))
    outputs = [helper.make_tensor_value_info(f"y{at}", output["dtype"], output["shape"]) for at, output in enumerate(case["outputs"])]
    graph = helper.make_graph([node], "one", inputs, outputs, constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", case["revision"])]), given


def answer(peer, case, path):
    made, given = model(case)
    onnx.save(made, path)
    outputs = peer.run(path, given)
    return {"outputs": [{"dtype": CODES[output.dtype], "shape": output.shape, "bytes": np.ascontiguousarray(output).tobytes().hex()} for output in outputs]}


def main():
    peer = Tract()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for line in sys.stdin:
            try:
                said = answer(peer, json.loads(line), path)
            except Exception as error:  # noqa: BLE001 - whatever a runtime throws is its answer
                said = {"refused": " ".join(str(error).split())[:200]}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()

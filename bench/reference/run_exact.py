"""What the int8 models of models/engine.json must answer: integers exactly, everything else in float64.

    run_exact.py MODELS [--fresh] [--only NAME ...]

ONNX Runtime is no reference here: without VNNI its u8 x i8 kernels add pairs of products in 16 bits, which saturate. So the graphs are walked here, operator by operator, in
numpy. Quantised values are whole numbers below 2^8, products of them below 2^16, and the longest sum has fewer than 2^13 terms: a float64 holds all of it exactly, in any
order. QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear compute as ONNX defines them, rounding half to even; scales and zero points of
DynamicQuantizeLinear are f32, as its definition has them.

What remains between this and an exact int8 engine is the rounding of f32 arithmetic in front of a QuantizeLinear: a value on the edge between two steps may fall to either
side, and what comes after rounds anew. How much of the answer that moves is measured: the same graph runs again with every value in front of a QuantizeLinear shaken by a few
parts in 10^7, as f32 would, and CASE.noise.json holds the largest distance of those answers, root mean square relative to root mean square.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import numpy_helper

WIDE = np.float64
# By how much f32 arithmetic is off in front of a quantiser, and how often that is tried.
SHAKE, SHAKEN_RUNS = 3e-7, 4


def erf(x):
    """To 1e-15: the series near zero, the continued fraction beyond."""
    size = np.abs(x)
    near = np.minimum(size, 2.5)
    term, series = near.copy(), near.copy()
    for n in range(1, 60):
        term = term * (-near * near) / n
        series += term / (2 * n + 1)
    far = np.maximum(size, 2.5)
    fraction = np.zeros_like(far)
    for n in range(60, 0, -1):
        fraction = n / 2 / (far + fraction)
    tail = np.exp(-far * far) / np.sqrt(np.pi) / (far + fraction)
    return np.sign(x) * np.where(size < 2.5, 2 / np.sqrt(np.pi) * series, 1 - tail)


def along(x, values, axis):
    """Values for each index of an axis, or one for all."""
    return values if values.ndim == 0 or values.size == 1 else values.reshape([-1 if at == axis % x.ndim else 1 for at in range(x.ndim)])


def zero_point(inputs):
    return inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.array(0, np.uint8)


def quantise(inputs, axis=1, **_):
    x, scale, zero = inputs[0], inputs[1], zero_point(inputs)
    limits = np.iinfo(zero.dtype)
    steps = np.rint(x / along(x, scale.astype(WIDE), axis)) + along(x, zero.astype(WIDE), axis)
    return steps.clip(limits.min, limits.max).astype(zero.dtype)


def dequantise(inputs, axis=1, **_):
    x, scale = inputs[0], inputs[1]
    zero = along(x, zero_point(inputs).astype(WIDE), axis)
    return (x.astype(WIDE) - zero) * along(x, scale.astype(WIDE), axis)


def quantise_dynamically(inputs, **_):
    x = inputs[0].astype(np.float32)
    least, most = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    scale = (most - least) / np.float32(255)
    zero = np.rint(-least / scale).clip(0, 255)
    steps = np.rint(x / scale) + zero
    return steps.clip(0, 255).astype(np.uint8), scale, zero.astype(np.uint8)


def multiply_integers(inputs, **_):
    a, b = inputs[0].astype(WIDE), inputs[1].astype(WIDE)
    for place, shift in enumerate(inputs[2:4]):
        if shift is None:
            continue
        # A zero point for each column of b.
        if place == 0:
            a = a - shift.astype(WIDE)
        else:
            b = b - shift.astype(WIDE)
    return (a @ b).astype(np.int32)


def windows(x, kernel, strides, pads, fill):
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=fill)
    return sliding_window_view(padded, kernel, axis=(2, 3))[:, :, :: strides[0], :: strides[1]]


def convolve(inputs, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), group=1, dilations=(1, 1), auto_pad="NOTSET", **_):
    x, weight = inputs[0], inputs[1]
    if list(dilations) != [1, 1] or auto_pad not in ("NOTSET", b"NOTSET"):
        raise SystemExit("a convolution with dilations or automatic pads is not computed here")
    seen = windows(x, tuple(kernel_shape), strides, pads, 0)
    parts = []
    for picture in seen:
        if group == weight.shape[0] == x.shape[1]:
            parts.append(np.einsum("chwij,cij->chw", picture, weight[:, 0]))
        elif group == 1:
            rows = picture.transpose(1, 2, 0, 3, 4).reshape(picture.shape[1] * picture.shape[2], -1)
            parts.append((rows @ weight.reshape(weight.shape[0], -1).T).T.reshape(weight.shape[0], *picture.shape[1:3]))
        else:
            raise SystemExit(f"a convolution in {group} groups is not computed here")
    result = np.stack(parts)
    return result if len(inputs) < 3 else result + inputs[2].reshape(1, -1, 1, 1)


def pool_most(inputs, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), **_):
    return windows(inputs[0], tuple(kernel_shape), strides, pads, -np.inf).max(axis=(4, 5))


def pool_average(inputs, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), **_):
    if any(pads):
        raise SystemExit("an average over pads is not computed here")
    return windows(inputs[0], tuple(kernel_shape), strides, pads, 0).mean(axis=(4, 5))


def gemm(inputs, alpha=1.0, beta=1.0, transA=0, transB=0, **_):
    a, b = (inputs[0].T if transA else inputs[0]), (inputs[1].T if transB else inputs[1])
    return alpha * (a @ b) + (beta * inputs[2] if len(inputs) > 2 else 0)


def softmax(inputs, axis=-1, **_):
    risen = np.exp(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
    return risen / risen.sum(axis=axis, keepdims=True)


def reshape(inputs, **_):
    x, shape = inputs
    return x.reshape([x.shape[at] if extent == 0 else extent for at, extent in enumerate(shape.tolist())])


def cut(inputs, **_):
    x, starts, ends, axes = inputs[:4]
    picked = [slice(None)] * x.ndim
    for start, end, axis in zip(starts, ends, axes, strict=True):
        picked[axis] = slice(start, end)
    return x[tuple(picked)]


KINDS = {onnx.TensorProto.FLOAT: WIDE, onnx.TensorProto.INT64: np.int64}
OPERATORS = {
    "QuantizeLinear": quantise,
    "DequantizeLinear": dequantise,
    "DynamicQuantizeLinear": quantise_dynamically,
    "MatMulInteger": multiply_integers,
    "Conv": convolve,
    "MaxPool": pool_most,
    "AveragePool": pool_average,
    "GlobalAveragePool": lambda i, **_: i[0].mean(axis=(2, 3), keepdims=True),
    "Gemm": gemm,
    "MatMul": lambda i, **_: i[0] @ i[1],
    "Softmax": softmax,
    "Relu": lambda i, **_: np.maximum(i[0], 0),
    "Clip": lambda i, **_: i[0].clip(i[1], i[2]),
    "Add": lambda i, **_: i[0] + i[1],
    "Sub": lambda i, **_: i[0] - i[1],
    "Mul": lambda i, **_: i[0] * i[1],
    "Div": lambda i, **_: i[0] / i[1],
    "Pow": lambda i, **_: i[0] ** i[1],
    "Sqrt": lambda i, **_: np.sqrt(i[0]),
    "Erf": lambda i, **_: erf(i[0]),
    "ReduceMean": lambda i, axes, keepdims=1, **_: i[0].mean(axis=tuple(axes), keepdims=bool(keepdims)),
    "Reshape": reshape,
    "Flatten": lambda i, axis=1, **_: i[0].reshape(int(np.prod(i[0].shape[:axis])), -1),
    "Transpose": lambda i, perm, **_: i[0].transpose(perm),
    "Gather": lambda i, axis=0, **_: np.take(i[0], i[1].astype(np.int64), axis=axis),
    "Unsqueeze": lambda i, **_: np.expand_dims(i[0], tuple(i[1].tolist())),
    "Concat": lambda i, axis, **_: np.concatenate(i, axis=axis),
    "Shape": lambda i, **_: np.array(i[0].shape, np.int64),
    "Slice": cut,
    "Cast": lambda i, to, **_: i[0].astype(KINDS[to]),
    "Identity": lambda i, **_: i[0],
}


def shaken(rng, operator):
    """The operator with its input off by as much as f32 arithmetic leaves it."""

    def run(inputs, **attributes):
        x = inputs[0]
        return operator([x * (1 + rng.uniform(-SHAKE, SHAKE, x.shape)), *inputs[1:]], **attributes)

    return run


def wide(values):
    return values.astype(WIDE) if values.dtype == np.float32 else values


def answer(model, inputs, rng=None):
    graph = model.graph
    operators = dict(OPERATORS)
    if rng is not None:
        operators |= {name: shaken(rng, OPERATORS[name]) for name in ("QuantizeLinear", "DynamicQuantizeLinear")}
    known = {tensor.name: wide(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    known |= {name: wide(values) for name, values in inputs.items()}
    last = {name: at for at, node in enumerate(graph.node) for name in node.input}
    wanted = [output.name for output in graph.output]
    for at, node in enumerate(graph.node):
        if node.op_type not in operators:
            raise SystemExit(f"{node.op_type} is not computed here")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        results = operators[node.op_type]([known[name] if name else None for name in node.input], **attributes)
        results = results if isinstance(results, tuple) else (results,)
        known |= dict(zip(node.output, results, strict=True))
        for name in set(node.input):
            if last.get(name) == at and name not in wanted:
                known.pop(name, None)
    return {name: known[name].astype(np.float32) for name in wanted}


def distance(outputs, others):
    """The largest over all outputs: root mean square of the difference relative to that of the output."""
    apart = [np.sqrt(((others[name].astype(WIDE) - values) ** 2).mean() / (values.astype(WIDE) ** 2).mean()) for name, values in outputs.items()]
    return float(max(apart))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--fresh", action="store_true", help="run every case again")
    parser.add_argument("--only", nargs="*", default=[], help="names of models; without any, all of them")
    arguments = parser.parse_args()
    for entry in json.loads((arguments.models / "engine.json").read_text())["models"]:
        if entry["kind"] not in ("int8", "exact") or (arguments.only and entry["name"] not in arguments.only):
            continue
        model = None
        for case in entry["cases"]:
            path = arguments.models / case["expected"]
            if path.exists() and not arguments.fresh:
                continue
            model = model or onnx.load(arguments.models / entry["file"])
            with np.load(arguments.models / case["inputs"]) as arrays:
                inputs = {name: arrays[name] for name in arrays.files}
            outputs = answer(model, inputs)
            if "noise" in case:
                runs = [answer(model, inputs, np.random.default_rng(seed)) for seed in range(SHAKEN_RUNS)]
                noise = max(distance(outputs, run) for run in runs)
                (arguments.models / case["noise"]).write_text(json.dumps({"rms": noise}) + "\n")
            part = path.with_name(f"{case['name']}.part.npz")
            np.savez(part, **outputs)
            part.replace(path)
            largest = ", ".join(f"{name} {list(values.shape)} largest {np.abs(values).max():.4g}" for name, values in outputs.items())
            shown = f", noise {noise:.2e}" if "noise" in case else ""
            print(f"{entry['name']} {case['name']}  {largest}{shown}", flush=True)


if __name__ == "__main__":
    main()

"""What ONNX Runtime answers to every case of a list, as models/cases/NAME/CASE.expected.npz.

    run_ort.py MODELS [--list index.json|engine.json] [--fresh] [--only NAME ...]

CPU, one thread. Quantised models are left to `run_exact.py`: ONNX Runtime's int8 kernels saturate on processors without VNNI. A model whose answer is not finite, or the same whatever goes in, is refused: nothing could be learnt from comparing with it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime


def session(path, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Warnings about initialisers that older exporters list as inputs say nothing about the answer.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer(running, inputs):
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(names, inputs), strict=True))


def check(where, outputs):
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise SystemExit(f"{where}: {name} is not finite")
        largest = np.abs(values).max()
        if largest == 0 or (len(values) > 1 and np.abs(values[0] - values[1]).max() < 0.02 * largest):
            raise SystemExit(f"{where}: {name} hardly depends on the input")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--list", default="index.json", help="the file that lists models and cases")
    parser.add_argument("--fresh", action="store_true", help="run every case again")
    parser.add_argument("--only", nargs="*", default=[], help="names of models; without any, all of them")
    arguments = parser.parse_args()

    for model in json.loads((arguments.models / arguments.list).read_text())["models"]:
        if (arguments.only and model["name"] not in arguments.only) or model.get("kind") in ("int8", "exact"):
            continue
        running = None
        for case in model["cases"]:
            path = arguments.models / case["expected"]
            if path.exists() and not arguments.fresh:
                continue
            running = running or session(arguments.models / model["file"])
            with np.load(arguments.models / case["inputs"]) as arrays:
                inputs = {name: arrays[name] for name in arrays.files}
            start = time.perf_counter()
            outputs = answer(running, inputs)
            took = (time.perf_counter() - start) * 1e3
            where = f"{model['name']} {case['name']}"
            check(where, outputs)
            part = path.with_name(f"{case['name']}.part.npz")
            np.savez(part, **outputs)
            part.replace(path)
            largest = ", ".join(f"{name} {list(values.shape)} largest {np.abs(values).max():.4g}" for name, values in outputs.items())
            print(f"{where}  {took:.0f} ms  {largest}", flush=True)


if __name__ == "__main__":
    main()

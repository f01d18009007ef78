"""What the engine's figures are measured on: the list models/engine.json, and the inputs that models/index.json has not.

    make_engine.py MODELS [--fresh]

Every f32 model comes with a batch of one (the first case of models/index.json) and a batch of eight of the same size; its int8 variant runs on the same inputs.
The small models are the fixtures beside `make_models.py`, with the inputs that they were exported with.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

import files
import pictures
import sentences
import sound

FIXTURES = Path(__file__).resolve().parents[1] / "models/fixtures"
BATCH = 8
INT8 = ["resnet50", "mobilenetv2", "minilm"]
# The largest value of a byte, everywhere: u8 times i8 at its worst.
EXACT = {"exact_matmul_integer": (4, 64), "exact_qdq_conv": (1, 64, 4, 4)}
SMALL = {"lstm": ["b2_s7"], "gpt": ["prefill_5", "decode_after_5"]}


def eight(models):
    """The cases of eight: model -> name of the case, function that makes the inputs."""

    def scenes(name):
        return f"b{BATCH}_224x224", lambda: {name: pictures.scenes_as_planes(BATCH, 224, 224)}

    def lines(height, width, **options):
        return f"b{BATCH}_{height}x{width}", lambda: {"x": pictures.lines_as_planes(BATCH, height, width, **options)}

    def windows():
        three = sound.windows(3)
        return {"serving_default_input_2:0": three[np.arange(BATCH) % len(three)]}

    def paragraphs():
        vocabulary = sentences.Vocabulary(models / "minilm.vocab.txt")
        turned = [sentences.SENTENCES[row:] + sentences.SENTENCES[:row] for row in range(BATCH)]
        rows = [sentences.batch_of(vocabulary, 1, 128, " ".join(text * 3)) for text in turned]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return {
        "resnet50": scenes("gpu_0/data_0"),
        "densenet121": scenes("data_0"),
        "inception_v2": scenes("data_0"),
        "mobilenetv2": scenes("input"),
        "squeezenet": scenes("data_0"),
        "ppocrv5_det": (f"b{BATCH}_480x480", lambda: {"x": pictures.pages_as_planes(BATCH, 480, 480)}),
        "ppocrv5_rec": lines(48, 320),
        "ppocrv5_cls": lines(80, 160, turn=True),
        "minilm": (f"b{BATCH}_s128", paragraphs),
        "magika": (f"b{BATCH}", lambda: {"bytes": files.bytes_of(BATCH)}),
        "basic_pitch": (f"b{BATCH}", windows),
    }


def listed(name, case, batch, inputs):
    return {"name": case, "batch": batch, "inputs": inputs, "expected": f"cases/{name}/{case}.expected.npz"}


def keep(path, make, fresh):
    """Writes inputs that are not there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not fresh:
        return
    part = path.with_name(f"{path.name}.part.npz")
    np.savez(part, **make())
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--fresh", action="store_true", help="make inputs anew even where they exist")
    arguments = parser.parse_args()
    models = arguments.models
    first = {model["name"]: model["cases"][0] for model in json.loads((models / "index.json").read_text())["models"]}

    entries, cases = [], {}
    for name, (case, make) in eight(models).items():
        inputs = f"cases/{name}/{case}.inputs.npz"
        keep(models / inputs, make, arguments.fresh)
        cases[name] = [listed(name, first[name]["name"], 1, first[name]["inputs"]), listed(name, case, BATCH, inputs)]
        entries.append({"name": name, "file": f"{name}.onnx", "kind": "f32", "cases": cases[name]})
    for name in INT8:
        same = [listed(f"{name}_int8", case["name"], case["batch"], case["inputs"]) for case in cases[name]]
        same = [case | {"noise": f"cases/{name}_int8/{case['name']}.noise.json"} for case in same]
        (models / f"cases/{name}_int8").mkdir(exist_ok=True)
        entries.append({"name": f"{name}_int8", "file": f"{name}_int8.onnx", "kind": "int8", "f32": name, "cases": same})
    for name, shape in EXACT.items():
        inputs = f"cases/{name}/b1.inputs.npz"
        keep(models / inputs, lambda shape=shape: {"x": np.full(shape, 255, np.float32)}, arguments.fresh)
        entries.append({"name": name, "file": f"{name}.onnx", "kind": "exact", "cases": [listed(name, "b1", 1, inputs)]})
    for name, made in SMALL.items():
        shutil.copyfile(FIXTURES / f"{name}.onnx", models / f"{name}.onnx")
        for case in made:
            target = models / f"cases/{name}/{case}.inputs.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FIXTURES / f"{name}.{case}.inputs.npz", target)
        small = [listed(name, case, 1, f"cases/{name}/{case}.inputs.npz") for case in made]
        entries.append({"name": name, "file": f"{name}.onnx", "kind": "small", "cases": small})
    part = models / "engine.json.part"
    part.write_text(json.dumps({"models": entries}, indent=1) + "\n")
    part.replace(models / "engine.json")


if __name__ == "__main__":
    main()

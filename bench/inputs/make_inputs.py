"""Real inputs for every model, as models/cases/NAME/CASE.inputs.npz, and the list of all of them, models/index.json.

    make_inputs.py MODELS [--fresh]

Every model whose inputs have symbolic dimensions gets three cases of different shapes: batch, picture size or sentence length.
The first case of a model is the one that times are taken on.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import files
import pictures
import sentences
import sound


def scenes(name, *shapes):
    return {f"b{n}_{h}x{w}": (lambda n=n, h=h, w=w: {name: pictures.scenes_as_planes(n, h, w)}) for n, h, w in shapes}


def boxes(make, *shapes, **options):
    return {f"b{n}_{h}x{w}": (lambda n=n, h=h, w=w: {"x": make(n, h, w, **options)}) for n, h, w in shapes}


SQUARES = [(1, 224, 224), (2, 224, 224), (4, 224, 224)]
# A third batch size, and still not minutes of work on one thread.
SMALL_SQUARES = [(1, 224, 224), (2, 224, 224), (3, 224, 224)]


def cases(models):
    """Every model's cases: name of the model -> name of the case -> function that makes the inputs."""
    vocabulary = sentences.Vocabulary(models / "minilm.vocab.txt")
    paragraph = " ".join(sentences.SENTENCES * 3)
    audio = "serving_default_input_2:0"
    return {
        "ppocrv5_cls": boxes(pictures.lines_as_planes, (1, 80, 160), (4, 80, 160), (2, 48, 192), turn=True),
        "ppocrv5_det": boxes(pictures.pages_as_planes, (1, 480, 480), (1, 320, 640), (2, 256, 384)),
        "ppocrv5_rec": boxes(pictures.lines_as_planes, (1, 48, 320), (2, 48, 480), (4, 48, 160)),
        "magika": {f"b{n}": (lambda n=n: {"bytes": files.bytes_of(n)}) for n in (1, 3, 5)},
        "basic_pitch": {f"b{n}": (lambda n=n: {audio: sound.windows(n)}) for n in (1, 2, 3)},
        "bvlc_alexnet": scenes("data_0", *SMALL_SQUARES),
        "densenet121": scenes("data_0", *SQUARES),
        "inception_v1": scenes("data_0", *SQUARES),
        "inception_v2": scenes("data_0", *SQUARES),
        "resnet50": scenes("gpu_0/data_0", *SQUARES),
        "shufflenet": scenes("gpu_0/data_0", *SQUARES),
        "squeezenet": scenes("data_0", *SQUARES),
        "vgg19": scenes("data_0", *SMALL_SQUARES),
        "zfnet512": scenes("gpu_0/data_0", *SMALL_SQUARES),
        "mobilenetv2": scenes("input", (1, 224, 224), (2, 192, 256), (1, 160, 320)),
        "minilm": {
            "b1_s128": lambda: sentences.batch_of(vocabulary, 1, 128, paragraph),
            "b1_s18": lambda: sentences.batch_of(vocabulary, 1, 18),
            "b6_s24": lambda: sentences.batch_of(vocabulary, 6, 24),
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--fresh", action="store_true", help="make inputs anew even where they exist")
    arguments = parser.parse_args()
    models = arguments.models

    index = []
    for name, made in cases(models).items():
        folder = models / "cases" / name
        folder.mkdir(parents=True, exist_ok=True)
        listed, shapes = [], set()
        for case, make in made.items():
            path = folder / f"{case}.inputs.npz"
            if arguments.fresh or not path.exists():
                part = folder / f"{case}.part.npz"
                np.savez(part, **make())
                part.replace(path)
                (folder / f"{case}.expected.npz").unlink(missing_ok=True)
            with np.load(path) as arrays:
                shape = {key: list(arrays[key].shape) for key in arrays.files}
            shapes.add(json.dumps(shape, sort_keys=True))
            listed.append(
                {
                    "name": case,
                    "inputs": f"cases/{name}/{case}.inputs.npz",
                    "expected": f"cases/{name}/{case}.expected.npz",
                    "shapes": shape,
                }
            )
        index.append({"name": name, "file": f"{name}.onnx", "dynamic": len(shapes) > 1, "cases": listed})
        print(f"{name}: {', '.join(made)}", flush=True)
    part = models / "index.json.part"
    part.write_text(json.dumps({"models": index}, indent=1) + "\n")
    part.replace(models / "index.json")


if __name__ == "__main__":
    main()

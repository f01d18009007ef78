"""Files of several kinds, cut and padded as magika reads them."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from pictures import scene

BLOCK, SIDE, PADDING = 4096, 1024, 256


def samples():
    """Python, PNG, JSON, ZIP and a licence text: real bytes, from here and made on the spot."""
    png = io.BytesIO()
    scene(96, 64, 1).save(png, "PNG")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("notes.txt", "Parts cut to one standard hold together without glue.\n" * 40)
    table = {"name": "figures", "rows": [{"id": row, "square": row * row} for row in range(60)]}
    licence = Path(__file__).resolve().parents[2] / "LICENSE"
    return [
        Path(__file__).read_bytes(),
        png.getvalue(),
        json.dumps(table, indent=2).encode(),
        archive.getvalue(),
        licence.read_bytes(),
    ]


def features(content):
    """1024 values of the stripped beginning and 1024 of the stripped end; 256 stands for no byte."""
    start, end = content[:BLOCK].lstrip()[:SIDE], content[-BLOCK:].rstrip()[-SIDE:]
    return [*start, *[PADDING] * (SIDE - len(start)), *[PADDING] * (SIDE - len(end)), *end]


def bytes_of(batch):
    files = samples()
    return np.array([features(files[index % len(files)]) for index in range(batch)], np.int32)

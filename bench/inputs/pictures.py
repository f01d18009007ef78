"""Pictures: text lines and pages as a camera or a scanner would bring them, and scenes for the classifiers."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

LINES = [
    "Mortise and tenon joints",
    "hold together without glue",
    "Invoice No. 20461 / 2026",
    "Total: 1,284.50 EUR",
    "Departure 09:45, gate B12",
    "The quick brown fox jumps",
    "Serial number SN-77-4102",
    "Keep dry, this side up",
]


def font(size):
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)


def text_line(text, width, height, ink=(20, 22, 30), paper=(236, 233, 224)):
    """One line of text that fills the height, cut or padded to the width."""
    picture = Image.new("RGB", (width, height), paper)
    size = max(8, int(height * 0.62))
    while size > 8 and font(size).getlength(text) > width - 8:
        size -= 1
    ImageDraw.Draw(picture).text((6, height // 2), text, font=font(size), fill=ink, anchor="lm")
    return picture.filter(ImageFilter.GaussianBlur(0.4))


def page(width, height, seed):
    """A page with several lines of several sizes, a rule and a stamp."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), (244, 242, 235))
    draw = ImageDraw.Draw(picture)
    y, index = height * 0.08, seed
    while y < height * 0.85:
        size = int(rng.integers(14, 34))
        draw.text((width * 0.06, y), LINES[index % len(LINES)], font=font(size), fill=(30, 30, 40))
        y += size * 1.9
        index += 1
    draw.line((width * 0.06, height * 0.9, width * 0.9, height * 0.9), fill=(120, 60, 60), width=2)
    draw.ellipse((width * 0.75, height * 0.7, width * 0.92, height * 0.86), outline=(160, 30, 40), width=3)
    return picture.filter(ImageFilter.GaussianBlur(0.5))


def scene(width, height, seed):
    """Sky, hills, a sun and a few boxes: edges, gradients and textures, another one for each seed."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([90, 140, 210]) * (1 - rows) + np.array([235, 205, 160]) * rows
    pixels = np.broadcast_to(sky, (height, width, 3)) + rng.normal(0, 4, (height, width, 3))
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    x, y, r = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.4) * height, 0.09 * height
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 236, 150))
    for layer in range(3):
        base, swing = height * (0.55 + 0.14 * layer), height * 0.08
        phase, speed = rng.uniform(0, 6.28), rng.uniform(1, 4)
        ridge = [(x, base + swing * np.sin(phase + speed * 6.28 * x / width)) for x in range(0, width + 8, 8)]
        shade = tuple(int(channel * (1 - 0.25 * layer)) for channel in (110, 150, 90))
        draw.polygon([(0, height), *ridge, (width, height)], fill=shade)
    for _ in range(6):
        x, y, w, h = rng.uniform(0, width), rng.uniform(0.5, 0.9) * height, rng.uniform(8, 40), rng.uniform(8, 40)
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(c) for c in rng.integers(30, 220, 3)), outline=(20, 20, 20))
    return picture


def planes(pictures, mean, deviation):
    """Pictures as one [N, 3, H, W] array of f32, normalised channel by channel."""
    pixels = np.stack([np.asarray(picture, np.float32) / 255 for picture in pictures]).transpose(0, 3, 1, 2)
    mean = np.asarray(mean, np.float32).reshape(1, 3, 1, 1)
    deviation = np.asarray(deviation, np.float32).reshape(1, 3, 1, 1)
    return np.ascontiguousarray((pixels - mean) / deviation)


def scenes_as_planes(batch, height, width):
    return planes([scene(width, height, seed) for seed in range(batch)], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pages_as_planes(batch, height, width):
    return planes([page(width, height, seed) for seed in range(batch)], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def lines_as_planes(batch, height, width, turn=False):
    """Text lines; with `turn`, every second one is upside down."""
    pictures = [text_line(LINES[index % len(LINES)], width, height) for index in range(batch)]
    if turn:
        pictures = [picture.rotate(180) if index % 2 else picture for index, picture in enumerate(pictures)]
    return planes(pictures, (0.5,) * 3, (0.5,) * 3)

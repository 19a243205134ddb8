"""Damaged pictures, read and prepared for a model."""

from __future__ import annotations

import io
import random
import struct
from functools import cache

import numpy as np
from PIL import Image

from onnxplain.photos.load import load_image
from onnxplain.photos.preprocessing import Preprocessing

from .mutate import mutate_bytes

_LARGEST = 4_000_000  # pixels: what a caller may set, so that thousands of pictures take minutes


@cache
def seeds() -> list[bytes]:
    """Sound pictures of every format and of many colour modes."""
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 256, (24, 31, 3), dtype=np.uint8))
    found = []
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "YCbCr", "I", "F"):
        image = base.convert("L").convert("I").convert(mode) if mode == "I;16" else base.convert(mode)
        for kind, options in (
            ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("WEBP", {}),
            ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}), ("TIFF", {"compression": "jpeg"}), ("GIF", {}),
        ):  # fmt: skip
            file = io.BytesIO()
            try:
                image.save(file, kind, **options)
            except (OSError, ValueError, KeyError):
                continue
            found.append(file.getvalue())
    exif = base.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    base.save(file, "JPEG", exif=exif)
    thin = io.BytesIO()
    Image.new("RGB", (10_000, 1)).save(thin, "PNG")
    return [*found, file.getvalue(), thin.getvalue()]


def damaged(seed: int) -> bytes:
    """The picture of a seed."""
    rng = random.Random(f"picture {seed}")
    data = rng.choice(seeds())
    if rng.random() < 0.3 and data.startswith(b"\x89PNG"):  # a header that states another size
        size = [rng.choice((0, 1, 2, 10_000, 65_535, 2**31 - 1)) for _ in range(2)]
        data = data[:16] + struct.pack(">2I", *size) + data[24:]
    return mutate_bytes(data, rng)


def attempt(seed: int) -> None:
    """Load the picture of a seed and make a tensor of it."""
    image = load_image(damaged(seed), max_pixels=_LARGEST)
    rules = (Preprocessing("shortest", 256, crop=224), Preprocessing("letterbox", 224), Preprocessing("exact", 224))
    rules[seed % len(rules)].apply(image)

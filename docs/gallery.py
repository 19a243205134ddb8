"""Writes docs/gallery.md and its pictures: every method and every kind of picture, of photos in this repository.

    python docs/gallery.py [METHOD|kinds ...]     # with names: their pictures only, and the page

Methods for transformers need one, which is not in this repository: their pictures are made where the environment
variable ONNXPLAIN_ZOO names the folder that holds it, and stay as they are elsewhere. The report is photographed where
Chromium is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gallery_texts import FEATURES, HEAD, KINDS, METHOD_TEXTS, METHODS_HEAD, TOKENS
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import onnxplain
from onnxplain import Explainer, Explanation
from onnxplain.bundled import bundled_photo
from onnxplain.methods import METHODS
from onnxplain.pictures import bars, grid_sheet, save_image, tokens_image

DOCS = Path(__file__).parent
PICTURES = DOCS / "images" / "gallery"
CAT, COFFEE = bundled_photo(), PICTURES / "coffee.jpg"
TRANSFORMER = "digits_vit_tiny.onnx"
FOR_TRANSFORMERS = ("attention_rollout", "attention_relevance")


def main(names: Sequence[str]) -> None:
    apart = set(METHODS) ^ set(METHOD_TEXTS)
    if apart:
        raise SystemExit(f"gallery_texts.py and the methods differ in {', '.join(sorted(apart))}")
    explainer = Explainer()
    for name in names or [*METHODS, "kinds"]:
        if name == "kinds":
            draw_kinds(explainer)
        elif name in FOR_TRANSFORMERS:
            draw_transformer_method(name)
        else:
            draw_method(explainer, name)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


def draw_method(explainer: Explainer, name: str) -> None:
    """The map and the overlay of both photos; the signed map where the sign means something."""
    options = options_of(explainer, name)
    found = [explainer.explain(photo, method=name, **options) for photo in (CAT, COFFEE)]
    pictures = [picture for one in found for picture in (map_of(one), one.overlay())]
    captions = [caption for one in found for caption in ("map", one.title)]
    save(f"method_{name}", grid_sheet([pictures], captions=[captions], cell=230))


def draw_transformer_method(name: str) -> None:
    """The same for a drawn digit and a small vision transformer, where there is one."""
    zoo = os.environ.get("ONNXPLAIN_ZOO")
    if zoo is None:
        return
    facts = {"size": 32, "resize": "exact", "channels": "L"}
    explainer = Explainer(Path(zoo) / "models" / TRANSFORMER, preprocessing=facts)
    found = [explainer.explain(digit(text), method=name) for text in ("3", "7")]
    pictures = [picture for one in found for picture in (map_of(one), one.overlay(smooth=0))]
    captions = [caption for one in found for caption in ("map", one.title)]
    save(f"method_{name}", grid_sheet([pictures], captions=[captions], cell=230))


def options_of(explainer: Explainer, name: str) -> dict[str, Any]:
    """What a method needs besides its defaults: references for expected gradients, the photos themselves."""
    if name != "expected_gradients":
        return {}
    preprocessing = explainer.preprocessing.preprocessing
    photos = [np.asarray(Image.open(photo).convert("RGB")) for photo in (CAT, COFFEE)]
    turned = [picture for photo in photos for picture in (photo, photo[:, ::-1], photo[::-1])]
    return {"references": np.stack([preprocessing.apply(np.ascontiguousarray(one))[0] for one in turned])}


def draw_kinds(explainer: Explainer) -> None:
    """One picture for each kind of picture."""
    cat = explainer.explain(CAT, method="smoothgrad")
    signed = explainer.explain(CAT, method="integrated_gradients")
    for kind in ("overlay", "heatmap", "contour", "panel"):
        save(f"kind_{kind}", cat.picture(kind))
    kinds = ("overlay", "heatmap", "contour")
    save("kind_signed", grid_sheet([signed.pictures(kinds, signed=True)], headers=kinds, cell=300))
    maps = ("inferno", "magma", "viridis", "turbo", "gray")
    save("kind_colormaps", grid_sheet([[cat.overlay(colormap=name) for name in maps]], headers=maps, cell=180))
    classes = [explainer.explain(photo, "top3", "grad_cam") for photo in (CAT, COFFEE)]
    save("kind_grid", onnxplain.grid(classes, cell=220))
    save("kind_tokens", tokens_image(list(TOKENS), list(TOKENS.values())))
    save("kind_bars", bars(list(FEATURES), list(FEATURES.values()), most=6))
    photograph_report([*classes, explainer.explain(CAT, method="occlusion")])


def photograph_report(explanations: Sequence[Any]) -> None:
    """The HTML report as Chromium shows it."""
    browser = shutil.which("chromium")
    if browser is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = onnxplain.report(explanations, Path(folder) / "report.html")
        shot = Path(folder) / "report.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,800"]
        profile = [f"--user-data-dir={folder}/profile", "--no-first-run", "--disable-background-networking"]
        command = [browser, *options, *profile, f"--screenshot={shot}", path.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        save("kind_report", np.asarray(Image.open(shot).convert("RGB")))


def map_of(explanation: Explanation) -> NDArray[np.uint8]:
    return explanation.picture("heatmap", signed=explanation.signed is not None)


def digit(text: str) -> Image.Image:
    """A digit of 8 x 8 pixels, white on black, as the transformer learnt them."""
    large = Image.new("L", (64, 64))
    ImageDraw.Draw(large).text((32, 32), text, fill=255, font=ImageFont.load_default(72), anchor="mm")
    return large.resize((8, 8), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BILINEAR)


def save(name: str, picture: NDArray[np.uint8]) -> None:
    save_image(PICTURES / f"{name}.jpg", picture, quality=82)


def page() -> str:
    """The Markdown of docs/gallery.md."""
    kinds = [f"### {title}\n\n{text}\n\n{image('kind', name)}" for name, (title, text) in KINDS.items()]
    methods = [
        f"### {name}\n\n**Tells:** {tells}\n\n**Does not tell:** {silent}\n\n{image('method', name)}"
        for name, (tells, silent) in METHOD_TEXTS.items()
    ]
    return "\n".join([HEAD, *kinds, METHODS_HEAD, *methods])


def image(group: str, name: str) -> str:
    return f"![{name}](images/gallery/{group}_{name}.jpg)\n"


if __name__ == "__main__":
    main(sys.argv[1:])

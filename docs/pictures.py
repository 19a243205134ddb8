"""Make the pictures of the README and the docs from the bundled model and photo: ``python docs/pictures.py``."""

from __future__ import annotations

from pathlib import Path

from onnxplain import Explainer
from onnxplain.bundled import bundled_photo
from onnxplain.pictures import heatmap, panel, save_image

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    explanation = Explainer().explain(bundled_photo())
    pictures = [explanation.image, heatmap(explanation.saliency), explanation.overlay()]
    save_image(IMAGES / "chelsea.jpg", panel(pictures, title=explanation.title, captions=["photo", "map", "overlay"]))


if __name__ == "__main__":
    main()

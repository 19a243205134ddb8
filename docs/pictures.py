"""Make the pictures of the README and the start page: ``python docs/pictures.py``.

The detector and the segmentation are not in this repository: ``questions.jpg``, ``detection.jpg`` and
``segmentation.jpg`` are made where the environment variable ONNXPLAIN_ZOO names the folder that holds them, and stay as
they are elsewhere. docs/images/README.md says whose the photos are. The chart is drawn from the numbers in
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
from pathlib import Path

from onnxplain import Explainer, Target
from onnxplain.pictures import grid_sheet, save_image

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
PUG = IMAGES / "pug.jpg"
RESULTS = DOCS.parent / "benchmarks" / "RESULTS.md"
#: Names of networks in the results, and in the chart.
NETWORKS = {
    "resnet50": "ResNet-50", "resnet18": "ResNet-18", "vgg16": "VGG-16", "mobilenet_v2": "MobileNetV2",
    "squeezenet": "SqueezeNet", "vit_s": "ViT-S/16", "bundled efficientnet_lite0": "EfficientNet-Lite0",
}  # fmt: skip
NANODET = {
    "size": [416, 416], "resize": "exact", "channels": "BGR", "scale": 1,
    "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395],
}  # fmt: skip


def main() -> None:
    explainer = Explainer()
    ball, pug = explainer.explain(PUG, ["tennis ball", "pug"], "smoothgrad")
    captions = ["the photo", f"why tennis ball? ({ball.probability:.0%})", f"why pug? ({pug.probability:.0%})"]
    save_image(
        IMAGES / "why.jpg", grid_sheet([[ball.image, ball.overlay(), pug.overlay()]], captions=[captions], cell=300)
    )
    if "ONNXPLAIN_ZOO" in os.environ:
        draw_questions(explainer, Path(os.environ["ONNXPLAIN_ZOO"]))
    (IMAGES / "speed.svg").write_text(speed_chart(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


def draw_questions(explainer: Explainer, zoo: Path) -> None:
    """Four questions: class against class, a detection, a segmentation, what a class looks like."""
    against = explainer.explain(PUG, Target("pug", versus="tennis ball"), "guided_grad_cam")
    detector = Explainer(zoo / "tasks" / "nanodet_m.onnx", layout="nanodet", preprocessing=NANODET)
    found = next(one for one in detector.detect(PUG) if one.index and one.score < 0.5)
    box = detector.explain(PUG, found, "smoothgrad", samples=20)
    facts = {"size": [256, 256], "resize": "exact", "layout": "NHWC"}
    network = zoo / "tasks" / "selfie_segmentation.onnx"
    outline = Explainer(network, layout="segmentation", score="probability", preprocessing=facts)
    person = outline.explain(zoo / "photos" / "skimage_astronaut.jpg", Target(at="own"), "smoothgrad", samples=20)
    seen = explainer.visualize_class("killer whale")
    cells = [against.overlay(), box.overlay(), person.overlay(), seen.image]
    captions = [
        "why pug rather than tennis ball?",
        "why this box?",
        "why this region?",
        "what is a killer whale, to the model?",
    ]
    save_image(IMAGES / "questions.jpg", grid_sheet([cells], captions=[captions], cell=250))
    coco = {16: "dog", 32: "sports ball"}
    kept = [(coco[one.target], one) for one in detector.detect(PUG) if one.target in coco]
    boxes = [box.image, *(detector.explain(PUG, one, "smoothgrad", samples=20).overlay() for _, one in kept)]
    named = [f"why this {name}? ({one.score:.0%})" for name, one in kept]
    save_image(IMAGES / "detection.jpg", grid_sheet([boxes], captions=[["the photo", *named]], cell=300))
    spot = outline.explain(zoo / "photos" / "skimage_astronaut.jpg", Target(at=(100, 70)), "smoothgrad", samples=20)
    regions = [[person.image, person.overlay(), spot.overlay()]]
    asked = ["the photo", "why the whole region?", "why the pixel left of the collar?"]
    save_image(IMAGES / "segmentation.jpg", grid_sheet(regions, captions=[asked], cell=300))


def speed_chart(results: str) -> str:
    """An SVG with two bars for each network: a map by onnxplain and by Captum, in forward passes."""
    section = results.partition("## Saliency end to end\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    of = {name: rows[0].index(name) for name in ("onnxplain / forward", "captum / forward")}
    bars = [
        (f"{NETWORKS[row[0]]}, batch {row[1]}", *(float(row[of[name]].split()[0]) for name in of))
        for row in rows[2:]
        if row[1] != "1"
    ]
    top, step, left, unit = 44, 44, 200, 56
    height = top + step * len(bars) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="760" height="{height}" rx="6" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="15" font-weight="bold" fill="#222222">'
        "A saliency map takes as long as this many forward passes</text>",
    ]
    for index, (name, ours, theirs) in enumerate(bars):
        y = top + index * step
        parts.append(f'<text x="{left - 10}" y="{y + 22}" text-anchor="end" fill="#222222">{name}</text>')
        for value, colour, offset in ((ours, "#1f6feb", 4), (theirs, "#b8b8b8", 20)):
            parts.append(f'<rect x="{left}" y="{y + offset}" width="{value * unit:.0f}" height="14" fill="{colour}"/>')
            x = left + value * unit + 6
            parts.append(f'<text x="{x:.0f}" y="{y + offset + 12}" font-size="12" fill="#222222">{value:.2f}</text>')
    y = top + step * len(bars) + 18
    for x, colour, name in (
        (left, "#1f6feb", "onnxplain in ONNX Runtime"),
        (left + 210, "#b8b8b8", "Captum in torch eager"),
    ):
        parts.append(f'<rect x="{x}" y="{y - 11}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{y + 1}" fill="#222222">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()

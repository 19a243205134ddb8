"""Class model visualisation: do pictures made with one classifier speak to others?

The classes were fixed before any picture of them was made: every 33rd class of ImageNet, so that nobody chose them.
Settings were tuned on ten others, every hundredth class (``--tuned`` runs those).

Pictures are made with the bundled EfficientNet-Lite0 and stored as uint8. They are shown to it, in their own pixels and
also as it takes photos (enlarged to 256 pixels, the middle 224 cut out), and, stretched to the size that each wants, to
two classifiers that had no part in making them, of the folder ``models`` in ``ONNXPLAIN_ZOO``:
SqueezeNet 1.0 (Caffe) and MobileNet v1 0.5 (TensorFlow). Chance is 1/1000 for the first place and 1/200 for the first
five of one classifier, 1 % for those of either of two.

``--time`` measures instead what a picture costs, in forward and backward passes of one image through the same session.
Tables are printed and, like a sheet of the pictures for each preset, written; exit code 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import environment, table
from onnxplain import ClassVisualization, Explainer, Preprocessing
from onnxplain.pictures import save_image
from onnxplain.pictures.sheets import grid_sheet
from onnxplain.visualization import PRESETS

#: The thirty classes that are reported; no setting was chosen by looking at them.
REPORTED = tuple(range(16, 16 + 33 * 30, 33))

#: The ten classes that settings were chosen by.
TUNED = tuple(range(5, 1000, 100))

assert not set(REPORTED) & set(TUNED)

HERE = Path(__file__).parent
#: The preprocessing of the bundled classifier, without the resizing of photos.
_OWN_PIXELS = Preprocessing("exact", 224, scale=1.0, mean=(127.0,), std=(128.0,))
SIDE = 224
#: Of the pictures, at least how many are to be in the first place of the bundled classifier, and among the first five
#: of either of the others; None where nothing is claimed.
CLAIMS: dict[str, tuple[float, float | None]] = {"natural": (1.0, 0.4), "paper": (0.95, None)}


@dataclass(frozen=True)
class Judge:
    """A classifier that had no part in making the pictures; ``offset`` is the place of the first ImageNet class."""

    name: str
    explainer: Explainer
    offset: int

    def places(self, pictures: Sequence[ClassVisualization]) -> list[int]:
        """The place of each picture's class among all classes by their scores, from 1."""
        preprocessing = self.explainer.preprocessing.preprocessing
        tensors = np.stack([preprocessing.apply(picture.image)[0] for picture in pictures])
        scores = self.explainer.scores(tensors)
        wanted = scores[np.arange(len(pictures)), [picture.target + self.offset for picture in pictures]]
        return [int(place) for place in 1 + (scores > wanted[:, None]).sum(axis=1)]


def judges(folder: Path, threads: int) -> list[Judge]:
    caffe = Preprocessing("exact", 227, channels="BGR", scale=1.0, mean=(104.0, 117.0, 123.0))
    centred = Preprocessing("exact", 160, scale=1 / 127.5, mean=(1.0,))
    return [
        Judge("SqueezeNet", open_model(folder / "squeezenet10_caffe_deepcompression.onnx", caffe, threads), 0),
        Judge("MobileNet", open_model(folder / "mobilenetv1_050_160_tf_nhwc_float.onnx", centred, threads), 1),
    ]


def open_model(path: Path, preprocessing: Preprocessing, threads: int) -> Explainer:
    return Explainer(path, preprocessing=preprocessing, threads=threads)


def report(preset: str, pictures: Sequence[ClassVisualization], others: Sequence[Judge]) -> tuple[str, bool]:
    """A table with a row for each class, the shares below it, and whether the claims hold."""
    own = Judge("bundled", Explainer(preprocessing=_OWN_PIXELS), 0).places(pictures)
    as_photos = Judge("bundled", Explainer(), 0).places(pictures)
    places = [judge.places(pictures) for judge in others]
    rows = [
        [picture.label, place, photo, f"{picture.probability:.3f}", f"{picture.score:.1f}", *theirs]
        for picture, place, photo, *theirs in zip(pictures, own, as_photos, *places)
    ]
    header = [
        "class",
        "bundled: place",
        "as a photo",
        "probability",
        "score",
        *(f"{judge.name}: place" for judge in others),
    ]
    first = np.array(own) == 1
    five = [np.array(theirs) <= 5 for theirs in places]
    either = np.logical_or.reduce(five)
    lines = [f"- first place of the bundled classifier: {share(first)}"]
    lines += [f"- first place of the bundled classifier as photos: {share(np.array(as_photos) == 1)}"]
    lines += [f"- among the first five of {judge.name}: {share(hits)}" for judge, hits in zip(others, five)]
    lines += [f"- among the first five of at least one of them: {share(either)}"]
    least, transfer = CLAIMS[preset]
    holds = bool(first.mean() >= least and (transfer is None or either.mean() >= transfer))
    lines += [f"- claimed: {least:.0%} first{'' if transfer is None else f', {transfer:.0%} among the first five'}: "]
    lines[-1] += "holds" if holds else "DOES NOT HOLD"
    settings = json.dumps({name: value for name, value in pictures[0].settings.items() if name != "preset"})
    return "\n\n".join([f"## Preset {preset}", f"Settings: `{settings}`", table(header, rows), "\n".join(lines)]), holds


def share(hits: np.ndarray) -> str:
    return f"{int(hits.sum())} of {hits.size} ({hits.mean():.0%})"


def sheet(preset: str, pictures: Sequence[ClassVisualization], columns: int = 6) -> np.ndarray:
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    captions = [[(one.label or "").split(",")[0] for one in row] for row in rows]
    title = f"Preset {preset}, EfficientNet-Lite0, {pictures[0].settings['steps']} steps"
    return grid_sheet([[one.image for one in row] for row in rows], title=title, captions=captions, cell=200)


def costs(threads: int, rounds: int) -> str:
    """What one picture costs: the ascent alone, per step, in passes of one image through the same session."""
    explainer = Explainer(threads=threads)
    tensor = np.zeros((1, 3, SIDE, SIDE), np.float32)
    explainer.attribute(tensor, target=0)
    rows = []
    for preset, settings in PRESETS.items():
        steps, ratios = settings.steps // 4, []
        for _ in range(rounds):
            begin = time.perf_counter()
            for _ in range(steps):
                explainer.attribute(tensor, target=0)
            passes = time.perf_counter() - begin
            begin = time.perf_counter()
            explainer.visualize_class(0, preset=preset, steps=steps, progress=False)
            ratios.append((time.perf_counter() - begin) / passes)
        each = statistics.median(ratios)
        rows.append(
            [preset, settings.steps, f"{each:.2f}", f"{each * settings.steps:.0f}", f"{1e3 * passes / steps:.1f}"]
        )
    header = ["preset", "steps", "passes per step", "passes per picture", "one pass, ms"]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--tuned", action="store_true", help="the ten classes of tuning; nothing is written")
    parser.add_argument("--time", action="store_true", help="measure what a picture costs, and nothing else")
    parser.add_argument("--rounds", type=int, default=3, help="of --time")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--zoo", type=Path, default=os.environ.get("ONNXPLAIN_ZOO"), help="the folder of the judges")
    options = parser.parse_args()
    print(environment(), flush=True)
    if options.time:
        print(costs(options.threads, options.rounds))
        return
    if options.zoo is None:
        parser.error("ONNXPLAIN_ZOO is not set to the folder of the other classifiers")
    others = judges(Path(options.zoo) / "models", options.threads)
    parts, all_hold = [f"# Class model visualisation\n\n{environment()}"], True
    for preset in options.presets:
        pictures = Explainer(threads=options.threads).visualize_class(
            TUNED if options.tuned else REPORTED, preset=preset
        )
        text, holds = report(preset, pictures, others)
        print(f"\n{text}", flush=True)
        parts, all_hold = [*parts, text], all_hold and holds
        if not options.tuned:
            save_image(HERE.parent / "docs" / "images" / f"classes_{preset}.jpg", sheet(preset, pictures), quality=85)
    if not options.tuned:
        (HERE / "RESULTS_class_visualization.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    sys.exit(0 if all_hold else 1)


if __name__ == "__main__":
    main()

"""Do maps fall on the animal? Every method on composites with exact masks: ``python benchmarks/localization.py``.

The composites of the zoo (the folder ``composites`` in ``ONNXPLAIN_ZOO``) are animals cut out and pasted on photos of
something else, with the class that the bundled classifier is asked about. Metrics: the pointing game with the 15 pixels
of its paper and with none, and the share of the map's sum that lies on the animal. Two rows tell what needs no model:
a constant map, and a Gaussian in the middle of the photo. A second table compares SmoothGrad and Integrated Gradients
with vanilla gradients image by image, since all are measured on the same ones; ``--variants`` adds other options.

The tables are printed and written to RESULTS_evaluation.md. Exit code 1 if a claim of the last section does not hold.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnxruntime

import onnxplain
from onnxplain import metrics
from onnxplain.evaluation import Evaluation
from onnxplain.evaluation.output import interval, markdown
from onnxplain.methods import METHODS, Method, find_method
from onnxplain.photos import load_image

MEASURED = ["pointing_game", "pointing_game_exact", "energy", "sparseness"]
BASELINE, BETTER = "saliency", ("smoothgrad", "integrated_gradients")
RESULTS = Path(__file__).with_name("RESULTS_evaluation.md")
#: Options that differ from the defaults; what does not exist is left out.
VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("smoothgrad", {"noise": 0.05}),
    ("smoothgrad", {"noise": 0.1}),
    ("smoothgrad", {"noise": 0.2}),
    ("smoothgrad", {"noise": 0.3}),
    ("smoothgrad", {"absolute": True}),
    ("integrated_gradients", {"baseline": "mean"}),
    ("integrated_gradients", {"baseline": "blur"}),
]


#: Photos that expected gradients compare with.
REFERENCES = 16


class Composites:
    """The photos, the masks of their animals and the classes."""

    def __init__(self, folder: Path) -> None:
        with (folder / "composites.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.folder = folder
        self.photos = [folder / row["file"] for row in rows]
        self.masks = [load_image(folder / row["mask"]).mean(axis=2) > 127.5 for row in rows]
        self.targets = [int(row["imagenet_idx"]) for row in rows]

    def evaluate(self, explainer: onnxplain.Explainer, method: Method) -> Evaluation:
        return onnxplain.evaluate(
            explainer, self.photos, [method], masks=self.masks, target=self.targets, metrics=MEASURED
        )

    def of_maps(self, make: Callable[[int, int], np.ndarray]) -> dict[str, np.ndarray]:
        """What maps [H,W] that know nothing of the model reach."""
        maps = [make(*mask.shape)[None] for mask in self.masks]
        pairs = [(map_, mask[None]) for map_, mask in zip(maps, self.masks)]
        return {
            "pointing_game": np.array([metrics.pointing_game(m, mask)[0] for m, mask in pairs], float),
            "pointing_game_exact": np.array(
                [metrics.pointing_game(m, mask, tolerance=0)[0] for m, mask in pairs], float
            ),
            "energy": np.array([metrics.energy_in_mask(m, mask)[0] for m, mask in pairs]),
            "sparseness": np.array([metrics.sparseness(m)[0] for m, _ in pairs]),
        }


def centred(height: int, width: int) -> np.ndarray:
    """A Gaussian in the middle, a quarter of each side wide."""
    y, x = (np.linspace(-2, 2, extent) for extent in (height, width))
    return np.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2))


def cells(values: Mapping[str, np.ndarray]) -> list[str]:
    """Mean and 95 % interval of each metric."""
    found = []
    for name in MEASURED:
        low, high = interval(values[name])
        found.append(f"{values[name].mean():.3f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]"))
    return found


def measured(composites: Composites, explainer: onnxplain.Explainer, method: Method) -> dict[str, np.ndarray] | str:
    """metric -> [images], or why the method cannot be used."""
    try:
        found = composites.evaluate(explainer, method)
    except onnxplain.OnnxplainError as error:
        return str(error)
    return {name: values[0] for name, values in found.values.items()}


def table(rows: Mapping[str, dict[str, np.ndarray] | str]) -> str:
    header = ["method", "pointing game, 15 px", "pointing game, 0 px", "energy on the animal", "sparseness"]
    return markdown(
        header,
        [[name, *(["refused", "", "", ""] if isinstance(row, str) else cells(row))] for name, row in rows.items()],
    )


def differences(rows: Mapping[str, dict[str, np.ndarray] | str]) -> str:
    """How much SmoothGrad and Integrated Gradients, in all variants, gain over vanilla gradients image by image."""
    baseline, lines = rows[BASELINE], []
    for name, row in rows.items():
        if name.startswith(BETTER) and not isinstance(row, str) and not isinstance(baseline, str):
            for metric in ("energy", "pointing_game_exact", "pointing_game"):
                gain = row[metric] - baseline[metric]
                lines.append([name, metric, gain_of(gain), f"{(gain > 0).sum()} : {(gain < 0).sum()}"])
    return markdown(["method", "metric", "mean gain [95 % interval]", "images better : worse"], lines)


def gain_of(gain: np.ndarray) -> str:
    """Mean and 95 % interval of differences, and whether they may be chance."""
    low, high = interval(gain)
    if low is None or high is None:
        return f"{gain.mean():+.3f}"
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]{' (may be chance)' if low <= 0 <= high else ''}"


def claims_of(rows: Mapping[str, dict[str, np.ndarray] | str]) -> list[tuple[str, bool]]:
    """What must hold of the methods with their defaults, and whether it does."""
    baseline, claims = rows[BASELINE], []
    assert not isinstance(baseline, str)
    for name in BETTER:
        row = rows.get(name)
        if row is None or isinstance(row, str):
            claims.append((f"{name} beats {BASELINE}: not measured", False))
            continue
        gains = {metric: row[metric] - baseline[metric] for metric in ("energy", "pointing_game_exact")}
        told = ", ".join(f"{metric} {gain_of(gain)}" for metric, gain in gains.items())
        holds = all(gain.mean() > 0 for gain in gains.values())
        claims.append((f"{name} beats {BASELINE} in the means of energy and exact pointing game: {told}", holds))
    reached = [name for name, row in rows.items() if not isinstance(row, str) and row["pointing_game"].mean() >= 0.9]
    claims.append((f"pointing-game accuracy of 0.9 or more: {', '.join(reached) or 'none'}", bool(reached)))
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=os.environ.get("ONNXPLAIN_ZOO"), help="default: ONNXPLAIN_ZOO")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--methods", help="comma-separated; default: all")
    parser.add_argument("--variants", action="store_true", help="also other options than the defaults")
    arguments = parser.parse_args()
    if arguments.zoo is None:
        sys.exit("set ONNXPLAIN_ZOO, or pass --zoo")
    composites = Composites(Path(arguments.zoo) / "composites")
    explainer = onnxplain.Explainer(threads=arguments.threads)
    names = arguments.methods.split(",") if arguments.methods else list(METHODS)
    photos = sorted((Path(arguments.zoo) / "photos").glob("oxpet_*.jpg"))[:REFERENCES]
    prepared = [explainer.preprocessing.preprocessing.apply(load_image(photo))[0] for photo in photos]
    rows: dict[str, dict[str, np.ndarray] | str] = {}
    for name in names:
        options = {"references": np.stack(prepared)} if name == "expected_gradients" else {}
        rows[name] = row = measured(composites, explainer, find_method(name, options))
        print(name, *([row] if isinstance(row, str) else cells(row)), file=sys.stderr, flush=True)
    plain = {
        "(constant map)": composites.of_maps(lambda height, width: np.ones((height, width))),
        "(Gaussian in the middle)": composites.of_maps(centred),
    }
    parts = [table({**rows, **plain})]
    refused = {name: row for name, row in rows.items() if isinstance(row, str)}
    parts += [f"{name}: {reason}" for name, reason in refused.items()]
    claims, varied = claims_of(rows), dict[str, dict[str, np.ndarray] | str]()
    if arguments.variants:
        for name, options in VARIANTS:
            if name in METHODS:
                label = f"{name}, {', '.join(f'{option}={value}' for option, value in options.items())}"
                varied[label] = measured(composites, explainer, find_method(name, options))
                print(label, file=sys.stderr, flush=True)
        parts += ["## Other options", table(varied)]
    parts += [f"## {' and '.join(BETTER)} against {BASELINE}", differences({**rows, **varied})]
    parts += ["## Claims", "\n".join(f"- {'holds' if holds else 'DOES NOT HOLD'}: {text}" for text, holds in claims)]
    report = "\n\n".join([heading(len(composites.photos)), *parts]) + "\n"
    print(report)
    RESULTS.write_text(report, encoding="utf-8")
    if not all(holds for _, holds in claims):
        sys.exit("a claim does not hold")


def heading(images: int) -> str:
    day = datetime.now(timezone.utc).date().isoformat()
    versions = f"onnxplain {onnxplain.__version__}, ONNX Runtime {onnxruntime.__version__}, NumPy {np.__version__}"
    return (
        f"# Localisation on composites\n\n{day}, {versions}, Python {platform.python_version()}; "
        f"`python benchmarks/localization.py {' '.join(sys.argv[1:])}`.\n\n"
        f"EfficientNet-Lite0 (bundled), {images} composites, explained for the class of the pasted animal; methods "
        "with their defaults, maps in the photo's pixels; in brackets the 95 % bootstrap interval over images. "
        f"Expected gradients compare with {REFERENCES} photos of pets."
    )


if __name__ == "__main__":
    main()

"""Do maps depend on what the model learned? ``python benchmarks/randomization.py``.

The model-randomisation check of Adebayo et al. 2018 on the bundled classifier: its weights become random from the score
down, and the maps of photos are compared with those before by rank correlation of magnitudes and by SSIM, for the class
that the untouched model predicts. Means over photos and seeds. The tables are printed and written to
RESULTS_randomization.md, the plot to randomization.png beside it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnxruntime

import onnxplain
import onnxplain.methods
from onnxplain.evaluation import RandomizationCheck

#: Those that must pass, that which must keep more, and others to see.
PASSING, KEEPING = ("saliency", "smoothgrad", "grad_cam"), "guided_backprop"
OTHERS = ("gradient_x_input", "integrated_gradients", "layer_cam", "guided_grad_cam", "deconvnet")
LIMIT = 0.2
PHOTOS = (
    "skimage_chelsea.jpg", "coral_parrot.jpg", "captum_swan.jpg", "oxpet_beagle_111.jpg", "oxpet_pug_139.jpg",
    "skimage_coffee.jpg",
)  # fmt: skip
FOLDER = Path(__file__).parent


def together(checks: list[RandomizationCheck]) -> RandomizationCheck:
    """The images of all seeds side by side."""
    values = {name: np.concatenate([check.values[name] for check in checks], axis=2) for name in checks[0].values}
    return replace(checks[0], images=[image for check in checks for image in check.images], values=values)


def claims_of(check: RandomizationCheck) -> list[tuple[str, bool]]:
    """Whether methods pass, and whether guided backpropagation keeps more."""
    last = dict(zip(check.methods, check.means()[-1]))
    whole = dict(zip(check.methods, check.means().mean(axis=0)))
    similar = dict(zip(check.methods, check.means("ssim")[-1]))
    claims = [
        (f"{name} falls below {LIMIT} when all weights are random: {last[name]:.3f}", last[name] < LIMIT)
        for name in PASSING
    ]
    for told, values in (
        ("rank correlation, mean over the layers", whole),
        ("SSIM when all weights are random", similar),
    ):
        others = ", ".join(f"{name} {values[name]:.3f}" for name in PASSING)
        keeps = values[KEEPING] > max(values[name] for name in PASSING)
        claims.append((f"{KEEPING} keeps more ({told}): {values[KEEPING]:.3f}; {others}", keeps))
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=os.environ.get("ONNXPLAIN_ZOO"), help="default: ONNXPLAIN_ZOO")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.zoo is None:
        sys.exit("set ONNXPLAIN_ZOO, or pass --zoo")
    photos = [Path(arguments.zoo) / "photos" / name for name in PHOTOS]
    methods = [name for name in (*PASSING, KEEPING, *OTHERS) if name in onnxplain.methods.METHODS]
    checks = []
    for seed in range(arguments.seeds):
        checks.append(
            onnxplain.randomization_check(
                None, photos, methods, seed=seed, stages=arguments.stages, threads=arguments.threads
            )
        )
        print(checks[-1].table(), file=sys.stderr, flush=True)
    check = together(checks)
    claims = claims_of(check)
    day = datetime.now(timezone.utc).date().isoformat()
    constant = int(np.isnan(check.values["rank_correlation"]).sum())
    report = "\n\n".join(
        [
            "# Model randomisation",
            f"{day}, onnxplain {onnxplain.__version__}, ONNX Runtime {onnxruntime.__version__}, "
            f"NumPy {np.__version__}, Python {platform.python_version()}; "
            f"`{' '.join(['python benchmarks/randomization.py', *sys.argv[1:]])}`.",
            f"EfficientNet-Lite0 (bundled), {len(photos)} photos, {arguments.seeds} seeds; {constant} of "
            f"{check.values['rank_correlation'].size} maps became constant and count as 0.",
            "## Rank correlation with the map before",
            check.table(),
            "## SSIM with the map before",
            check.table("ssim"),
            "![Rank correlation over the layers](randomization.png)",
            "## Claims",
            "\n".join(f"- {'holds' if holds else 'DOES NOT HOLD'}: {text}" for text, holds in claims),
        ]
    )
    print(report)
    (FOLDER / "RESULTS_randomization.md").write_text(f"{report}\n", encoding="utf-8")
    check.plot().savefig(FOLDER / "randomization.png", dpi=120)
    if not all(holds for _, holds in claims):
        sys.exit("a claim does not hold")


if __name__ == "__main__":
    main()

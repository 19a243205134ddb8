"""``onnxplain evaluate``: how good the maps of several methods are, as a table, files and plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from .common import (
    FAILED,
    Failures,
    Json,
    ModelOptions,
    Quiet,
    guarded,
    print_json,
    report,
    say,
    split_model,
    target_of,
)
from .methods import method_help
from .signatures import Argument, Option
from .tables import table

if TYPE_CHECKING:
    from ..evaluation import Evaluation, RandomizationCheck


@guarded
def evaluate(
    paths: Annotated[
        list[Path] | None,
        Argument(
            metavar="[MODEL] [IMAGE|FOLDER]...",
            help="An ONNX model and photos. Without a model the bundled classifier, without photos the bundled one.",
        ),
    ] = None,
    out: Annotated[Path, Option("-o", "--output", help="The folder for CSV, JSON and plots.", metavar="DIR")] = Path(),
    methods: Annotated[
        str,
        Option(
            "--method",
            "--methods",
            "-m",
            help='Attribution methods: saliency,grad_cam,...; "help" lists all.',
            callback=method_help,
        ),
    ] = "saliency",
    metrics: Annotated[
        str | None,
        Option("--metrics", help="deletion,insertion,...; an unknown one lists all. Default: what masks allow."),
    ] = None,
    masks: Annotated[
        Path | None,
        Option("--masks", help="Folder with the objects' masks: <photo>_mask.png or <photo>.png.", metavar="DIR"),
    ] = None,
    target: Annotated[
        str | None, Option("--target", "-t", help="A class index or label. Default: the predicted class.")
    ] = None,
    randomization: Annotated[
        bool, Option("--randomization", help="Also compare maps with those of copies with random weights.")
    ] = False,
    steps: Annotated[int, Option("--steps", help="Steps of the deletion and insertion curves.")] = 50,
    tolerance: Annotated[float, Option("--tolerance", help="Pixels of tolerance in the pointing game.")] = 15.0,
    samples: Annotated[int, Option("--samples", help="Samples of infidelity and max-sensitivity.")] = 20,
    seed: Annotated[int, Option("--seed", help="Of everything that is random.")] = 0,
    *,
    loading: ModelOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how good the maps of attribution methods are on photos.

    Prints the mean of each metric with its 95 % interval, and writes evaluation.csv (a row for each photo and method),
    evaluation.json and, with matplotlib, evaluation.png.
    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..bundled import bundled_photo
    from ..evaluation import evaluate as measure
    from ..evaluation import randomization_check
    from ..evaluation.choices import find_methods, find_metrics
    from ..files import make_folder

    chosen = find_methods(_listed(methods))
    wanted = None if metrics is None else find_metrics(_listed(metrics), len(chosen), masks is not None)
    model, photos = split_model(paths or [])
    photos = photos or [bundled_photo()]
    make_folder(out)
    failures = Failures()
    progress = not quiet
    found = measure(
        loading.explainer(model),
        photos,
        chosen,
        masks=masks,
        metrics=wanted,
        target=None if target is None else target_of(target),
        steps=steps,
        tolerance=tolerance,
        samples=samples,
        seed=seed,
        on_error=failures,
        progress=progress,
    )
    check = None
    if randomization:
        readable = [Path(image) for image in found.images]
        options = {"target": found.targets, "seed": seed, "progress": progress, **loading.arguments()}
        check = randomization_check(model, readable, chosen, **options)
    files = _write(found, out / "evaluation", quiet)
    files += [] if check is None else _write(check, out / "randomization", quiet)
    if as_json:
        print_json(
            {
                "model": None if model is None else str(model),
                **found.to_dict(),
                **({} if check is None else {"randomization": check.to_dict()}),
                "files": [str(path) for path in files],
                "errors": failures.listed,
            }
        )
    elif not quiet:
        _print(found, check)
        say(f"-> {', '.join(map(str, files))}")
    if failures.listed:
        raise click.exceptions.Exit(FAILED)


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _write(result: Evaluation | RandomizationCheck, stem: Path, quiet: bool) -> list[Path]:
    """CSV, JSON and, if there is matplotlib, the plot."""
    from ..errors import RuntimeMissingError
    from ..files import write_bytes
    from ..pictures.figures import encode_figure

    files = [result.save(stem.with_suffix(suffix)) for suffix in (".csv", ".json")]
    try:
        figure = result.plot()
    except RuntimeMissingError as error:
        if not quiet:
            report(error, "warning")
        return files
    return [*files, write_bytes(stem.with_suffix(".png"), encode_figure(figure, "png", dpi=120))]


def _print(found: Evaluation, check: RandomizationCheck | None) -> None:
    from ..evaluation import METRICS

    arrows = {"higher": "↑", "lower": "↓"}
    images = f"{len(found.images)} image{'s' if len(found.images) > 1 else ''}"
    head = ["method", *(f"{METRICS[metric].title} {arrows[METRICS[metric].better]}" for metric in found.values)]
    cells = {(row["method"], row["metric"]): _cell(row) for row in found.summary()}
    rows = [[method, *(cells[method, metric] for metric in found.values)] for method in found.methods]
    say(f"mean and 95 % interval over {images}", "", *table(head, rows))
    if check is not None:
        layers = [[layer, *(f"{mean:.3f}" for mean in means)] for layer, means in zip(check.layers, check.means())]
        say("", "rank correlation with the map before", "", *table(["random down to", *check.methods], layers))


def _cell(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return "infinite"
    return f"{row['mean']:.3f}" + ("" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]")

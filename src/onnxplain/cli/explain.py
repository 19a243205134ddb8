"""``onnxplain explain``: photos in, pictures of what the model looked at out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    FAILED,
    ChannelAxis,
    ClassAxis,
    Json,
    LabelsFile,
    Precision,
    PreprocessingName,
    Providers,
    Quiet,
    Score,
    Tensor,
    Threads,
    guarded,
    print_json,
    report,
    split_model,
    target_of,
    warnings_as_lines,
)
from .results import drawing_options, sinks

if TYPE_CHECKING:
    from ..errors import OnnxplainError
    from ..methods import Method
    from ..results.explanation import Explanation


@guarded
def explain(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL] [IMAGE|FOLDER]...",
            help="An ONNX model and photos. Without a model the bundled classifier, without photos the bundled one.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A file for one photo, or a folder. Default: the current folder.", metavar="OUT"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="A class index or label, or top3. Default: the predicted class."),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", "-f", help="Any of png, svg, pdf (pictures), npy (map), json (facts). Default: png."),
    ] = None,
    preprocessing: PreprocessingName = None,
    labels: LabelsFile = None,
    provider: Providers = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Photos that run at once.")] = None,
    threads: Threads = 0,
    method: Annotated[
        str,
        typer.Option("--method", "-m", help='One attribution method, or several: saliency,occlusion. "?" lists all.'),
    ] = "saliency",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An option of a method: samples=20, or smoothgrad.samples=20; repeatable.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    picture: Annotated[
        str | None,
        typer.Option(
            "--picture", "-p", help="overlay, heatmap, contour, panel, or grid (one of all photos). Default: overlay."
        ),
    ] = None,
    signed: Annotated[
        bool, typer.Option("--signed", help="Draw what speaks for and against the class, where the method tells.")
    ] = False,
    colormap: Annotated[
        str | None, typer.Option("--colormap", help="inferno, magma, viridis, turbo, gray, diverging, diverging_dark.")
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Weight of the map over the photo, 0..1.")] = None,
    percentiles: Annotated[
        str | None,
        typer.Option(
            "--percentiles", help="Values that become the lowest and the highest colour: 50,99.5.", metavar="LOW,HIGH"
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report", help="One HTML file about all photos, instead of pictures unless these are asked for, too."
        ),
    ] = None,
    tensor: Tensor = None,
    score: Score = "logit",
    class_axis: ClassAxis = None,
    precision: Precision = "float32",
    channel_axis: ChannelAxis = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what in each photo made the model choose a class.

    Without arguments: the bundled classifier on the bundled photo.
    """
    from ..bundled import bundled_photo
    from ..explainer import Explainer
    from ..results.explanation import parse_formats
    from ..runtime.providers import full_name

    hows = _methods(method, option or [])
    model, photos = split_model(paths or [])
    photos = photos or [bundled_photo()]
    chosen = target_of(target)
    outputs = sinks(
        out,
        parse_formats(formats),
        picture,
        drawing_options(colormap, alpha, percentiles, signed),
        page,
        [*photos, *([model] if model else [])],
        photos=len(photos),
        methods=len(hows),
    )
    with warnings_as_lines(quiet):
        explainer = Explainer(
            model,
            providers=[full_name(name) for name in provider] if provider else None,
            preprocessing=preprocessing,
            labels=labels,
            batch_size=batch_size,
            tensor=tensor,
            score=score,
            class_axis=class_axis,
            precision=precision,
            channel_axis=channel_axis,
            gradients=any(how.gradients for how in hows),
            threads=threads,
        )
    failures: list[dict[str, str]] = []

    def failed(name: str, error: OnnxplainError) -> None:
        failure = {"image": name, "error": str(error)}
        if failure not in failures:  # several methods read a photo several times
            report(error)
            failures.append(failure)

    results: list[dict[str, Any]] = []
    for sink in outputs:
        sink.prepare()
    streams = [
        explainer.stream(photos, chosen, how, on_error=failed, progress=False if quiet or number else None)
        for number, how in enumerate(hows)
    ]
    done = 0
    for rank, explanation in _side_by_side(streams, [str(photo) for photo in photos]):
        written = [path for sink in outputs for path in sink.add(explanation, rank)]
        done += 1
        if as_json:
            results.append({**explanation.to_dict(), "files": [str(path) for path in written]})
        elif not quiet:
            where = f" -> {', '.join(map(str, written))}" if written else ""
            print(f"{explanation.source}: {explanation.title}{where}")
    totals = [path for sink in outputs for path in sink.finish()] if done else []
    if totals and not (as_json or quiet):
        print("\n".join(map(str, totals)))
    if as_json:
        stated = explainer.preprocessing
        print_json(
            {
                "model": None if model is None else str(model),
                "provider": explainer.provider,
                "preprocessing": {"source": stated.source, **stated.preprocessing.to_dict()},
                "results": results,
                "files": [str(path) for path in totals],
                "errors": failures,
            }
        )
    if failures:
        raise typer.Exit(FAILED)


def _methods(names: str, settings: Sequence[str]) -> list[Method]:
    """The methods of ``--method``, with the options of ``--set``: of several, each option names its method.

    Raises:
        InputError: no such method, or it has no such option.
    """
    from ..methods import find_method

    listed = list(dict.fromkeys(name.strip() for name in names.split(",")))
    options: dict[str, dict[str, Any]] = {name: {} for name in listed}
    for name, value in _options(settings).items():
        method, separator, option = name.rpartition(".")
        if not separator and len(listed) == 1:
            method = listed[0]
        if method not in options:
            raise typer.BadParameter(
                f"--set {name}: with several methods say METHOD.NAME=VALUE, of {', '.join(listed)}."
            )
        options[method][option] = value
    return [find_method(name, chosen) for name, chosen in options.items()]


def _options(settings: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs, each value as JSON where it is some, else as text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"--set takes NAME=VALUE, found {setting!r}.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _side_by_side(streams: Sequence[Iterator[Any]], photos: Sequence[str]) -> Iterator[tuple[int | None, Explanation]]:
    """The explanations of one photo after the other, by all methods, each with its rank where there are several.

    ``streams`` hand out one explanation (or a list of several classes') for each photo that did not fail.
    """
    waiting = [next(stream, None) for stream in streams]
    for photo in photos:
        for number, stream in enumerate(streams):
            found = waiting[number]
            ranked = found if isinstance(found, list) else [] if found is None else [found]
            if not ranked or ranked[0].source != photo:
                continue
            yield from ((rank if len(ranked) > 1 else None, one) for rank, one in enumerate(ranked, 1))
            waiting[number] = next(stream, None)

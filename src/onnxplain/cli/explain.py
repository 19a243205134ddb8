"""``onnxplain explain``: photos in, pictures of what the model looked at out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..errors import InputError
from .again import again
from .common import (
    FAILED,
    Failures,
    Json,
    ModelOptions,
    Precision,
    Quiet,
    files_read,
    guarded,
    print_json,
    say,
    short_path,
    split_model,
)
from .expected import compare
from .methods import chosen_methods, method_help
from .questions import QuestionOptions
from .results import Sink, drawing_options, sinks
from .signatures import Argument, Option

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..methods import Method
    from ..results.explanation import Explanation
    from .questions import Asked


@guarded
def explain(
    paths: Annotated[
        list[Path] | None,
        Argument(
            metavar="[MODEL] [IMAGE|FOLDER]...",
            help="An ONNX model and photos. Without a model the bundled classifier, without photos the bundled one.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option("-o", "--output", help="A file for one photo, or a folder. Default: the current folder.", metavar="OUT"),
    ] = None,
    formats: Annotated[
        str | None,
        Option("--format", "-f", help="Any of png, svg, pdf (pictures), npy (map), json (facts). Default: png."),
    ] = None,
    method: Annotated[
        str,
        Option(
            "--method",
            "-m",
            help='One attribution method, or several: saliency,occlusion. "help" lists all, with their options.',
            callback=method_help,
        ),
    ] = "saliency",
    option: Annotated[
        list[str] | None,
        Option(
            "--set",
            help="An option of a method: samples=20, or smoothgrad.samples=20; repeatable.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    picture: Annotated[
        str | None,
        Option(
            "--picture", "-p", help="overlay, heatmap, contour, panel, or grid (one of all photos). Default: overlay."
        ),
    ] = None,
    signed: Annotated[
        bool, Option("--signed", help="Draw what speaks for and against the class, where the method tells.")
    ] = False,
    colormap: Annotated[
        str | None,
        Option(
            "--colormap",
            "--palette",
            help="inferno, magma, viridis, cividis, turbo, gray, diverging, diverging_dark, blue_orange; colour_blind: "
            "cividis or blue_orange, by the sign of the map.",
        ),
    ] = None,
    bright: Annotated[bool, Option("--bright", help="Keep the photo below the map bright and coloured.")] = False,
    alpha: Annotated[float | None, Option("--alpha", help="Weight of the map over the photo, 0..1.")] = None,
    percentiles: Annotated[
        str | None,
        Option(
            "--percentiles", help="Values that become the lowest and the highest colour: 50,99.5.", metavar="LOW,HIGH"
        ),
    ] = None,
    page: Annotated[
        Path | None,
        Option("--report", help="One HTML file about all photos, instead of pictures unless these are asked for, too."),
    ] = None,
    expected: Annotated[
        str | None,
        Option(
            "--expected",
            help="What ought to be predicted: a class, a .csv of photos and classes, or folders (named by class). "
            "Draws the predicted and the expected class; of several photos a report of all mistakes.",
            metavar="CLASS",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        Option(
            "--again",
            help="Make a recorded map again (a JSON or PNG file of explain), and say whether it is the same.",
            metavar="RECORD",
        ),
    ] = None,
    *,
    question: QuestionOptions,
    loading: ModelOptions,
    precision: Precision = "float32",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what in each photo made the model choose a class.

    Without arguments: the bundled classifier on the bundled photo.
    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..bundled import bundled_photo
    from ..results.explanation import parse_formats

    if record is not None:
        _refuse_settings(question, method, option, expected)
        drawing = drawing_options(colormap, alpha, percentiles, signed, bright)

        def written_for(count: int, read: list[Path]) -> list[Sink]:
            asked = out is not None or page is not None or formats is not None or picture is not None
            chosen = (out, parse_formats(formats), picture, drawing, page, read)
            return sinks(*chosen, photos=count, methods=1) if asked else []

        again(record, paths or [], written_for, loading, as_json=as_json, quiet=quiet)
        return
    hows = chosen_methods(method, option or [])
    question.check()
    if expected is not None:
        _refuse_others(question, formats, picture, hows)
        drawing = drawing_options(colormap, alpha, percentiles, signed, bright)
        compare(paths or [], expected, hows[0], out, page, drawing, loading, precision, as_json=as_json, quiet=quiet)
        return
    model, photos = split_model(paths or [])
    photos = photos or [bundled_photo()]
    outputs = sinks(
        out,
        parse_formats(formats),
        picture,
        drawing_options(colormap, alpha, percentiles, signed, bright),
        page,
        files_read(model, photos),
        photos=len(photos),
        methods=len(hows),
    )
    explainer = loading.explainer(model, precision=precision, gradients=any(how.gradients for how in hows))
    failures = Failures()
    found = explained(explainer, photos, question.targets(explainer), hows, failures, quiet)
    results, totals = _written(found, outputs, as_json or quiet)
    if as_json:
        print_json(_document(explainer, model, results, totals, failures))
    elif totals and not quiet:
        say(*map(str, totals))
    if failures.listed:
        raise click.exceptions.Exit(FAILED)


def explained(
    explainer: Explainer,
    photos: Sequence[Path],
    targets: Sequence[Asked],
    methods: Sequence[Method],
    failures: Failures,
    quiet: bool,
) -> Iterator[tuple[int | None, Explanation]]:
    """Explanations, photo by photo, by all methods, for all targets.

    Each comes with its rank (1, 2, ...) among those of its photo and method, None where it is the only one.
    """

    def started(method: Method, target: Asked) -> Iterator[Any]:
        first = method is methods[0] and target is targets[0]
        progress = first and not quiet
        return explainer.stream(photos, target, method, on_error=failures, progress=progress)

    streams = [[started(method, target) for target in targets] for method in methods]
    waiting = [[next(stream, None) for stream in row] for row in streams]
    for photo in map(str, photos):
        for row, heads in zip(streams, waiting):
            found: list[Explanation] = []
            for number, stream in enumerate(row):
                head = heads[number]
                ranked = head if isinstance(head, list) else [] if head is None else [head]
                if ranked and ranked[0].source == photo:
                    found += ranked
                    heads[number] = next(stream, None)
            yield from ((rank if len(found) > 1 else None, one) for rank, one in enumerate(found, 1))


def _refuse_settings(question: QuestionOptions, method: str, option: list[str] | None, expected: str | None) -> None:
    """Refuse what a record states itself."""
    asked = (question.target, question.at, question.versus, question.like, question.model_output, option, expected)
    if any(one is not None for one in asked) or method != "saliency":
        raise InputError("--again takes the question and the method from the record; leave out others.")


def _refuse_others(
    question: QuestionOptions, formats: str | None, picture: str | None, methods: Sequence[Method]
) -> None:
    """Refuse what does not go with --expected."""
    given = (question.target, question.at, question.versus, question.like, question.model_output, formats, picture)
    if any(one is not None for one in given) or len(methods) > 1:
        raise InputError("--expected draws its own picture of the predicted class by one method; leave out others.")


def _written(
    found: Iterator[tuple[int | None, Explanation]], sinks: Sequence[Sink], silent: bool
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Hand each explanation to all sinks, and say so; the facts about each, and the files about all together."""
    results: list[dict[str, Any]] = []
    for sink in sinks:
        sink.prepare()
    for rank, explanation in found:
        files = [str(path) for sink in sinks for path in sink.add(explanation, rank)]
        results.append({**explanation.to_dict(), "files": files})
        if not silent:
            say(f"{short_path(explanation.source)}: {explanation.title}{_arrow(files)}")
    return results, [path for sink in sinks for path in sink.finish()] if results else []


def _arrow(files: Sequence[str]) -> str:
    return f" -> {', '.join(files)}" if files else ""


def _document(
    explainer: Explainer, model: Path | None, results: list[dict[str, Any]], files: list[Path], failures: Failures
) -> dict[str, Any]:
    """Return all that happened, as plain values for JSON."""
    stated = explainer.preprocessing
    return {
        "model": None if model is None else str(model),
        "provider": explainer.provider,
        "preprocessing": {"source": stated.source, **stated.preprocessing.to_dict()},
        "results": results,
        "files": [str(path) for path in files],
        "errors": failures.listed,
    }

"""``onnxplain explain``: photos in, pictures of what the model looked at out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    FAILED,
    ChannelAxis,
    ClassAxis,
    Json,
    Output,
    Quiet,
    Score,
    guarded,
    print_json,
    refuse_overwriting,
    report,
    split_model,
    target_of,
    warnings_as_lines,
)

if TYPE_CHECKING:
    from ..errors import OnnxplainError
    from ..explanation import Explanation


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
            "-o", "--out", help="A file for one photo, or a folder. Default: the current folder.", metavar="OUT"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="A class index or label, or top3. Default: the predicted class."),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", "-f", help="Any of png (overlay), npy (map), json (facts): png,json. Default: png."),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option("--preprocessing", help="A preset (imagenet, tf, caffe, clip, none) or a JSON file."),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Class names: a .txt, .json or .csv file.")] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="cuda, cpu, or a name as in ONNX Runtime; repeatable, in order of preference."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Photos that run at once.")] = None,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads; 0 is all.")] = 0,
    method: Annotated[
        str, typer.Option("--method", "-m", help="The attribution method; an unknown one lists all.")
    ] = "saliency",
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the method: samples=20; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    output: Output = None,
    score: Score = "logit",
    class_axis: ClassAxis = None,
    channel_axis: ChannelAxis = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what in each photo made the model choose a class.

    Without arguments: the bundled classifier on the bundled photo.
    """
    from ..bundled import bundled_photo
    from ..explainer import Explainer
    from ..explanation import parse_formats
    from ..methods import find_method
    from ..runtime.providers import full_name

    how = find_method(method, _options(option or []))
    model, photos = split_model(paths or [])
    photos = photos or [bundled_photo()]
    chosen = target_of(target)
    files = _Files(out, parse_formats(formats), [*photos, *([model] if model else [])])
    if len(photos) > 1 and files.single is not None:
        raise typer.BadParameter(f"-o names the file {out}, but there are {len(photos)} photos; name a folder.")
    with warnings_as_lines(quiet):
        explainer = Explainer(
            model,
            providers=[full_name(name) for name in provider] if provider else None,
            preprocessing=preprocessing,
            labels=labels,
            batch_size=batch_size,
            output=output,
            score=score,
            class_axis=class_axis,
            channel_axis=channel_axis,
            gradients=how.gradients,
            threads=threads,
        )
    failures: list[dict[str, str]] = []

    def failed(name: str, error: OnnxplainError) -> None:
        report(error)
        failures.append({"image": name, "error": str(error)})

    results: list[dict[str, Any]] = []
    files.prepare()
    progress = False if quiet else None
    for found in explainer.stream(photos, chosen, how, on_error=failed, progress=progress):
        ranked = found if isinstance(found, list) else [found]
        for rank, explanation in enumerate(ranked, 1):
            written = files.save(explanation, rank if len(ranked) > 1 else None)
            if as_json:
                results.append({**explanation.to_dict(), "files": [str(path) for path in written]})
            elif not quiet:
                print(f"{explanation.source}: {explanation.title} -> {', '.join(map(str, written))}")
    if as_json:
        stated = explainer.preprocessing
        print_json(
            {
                "model": None if model is None else str(model),
                "provider": explainer.provider,
                "preprocessing": {"source": stated.source, **stated.preprocessing.to_dict()},
                "results": results,
                "errors": failures,
            }
        )
    if failures:
        raise typer.Exit(FAILED)


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


class _Files:
    """Where results go: the file ``out``, or the folder ``out`` with names made of the photos'."""

    def __init__(self, out: Path | None, formats: list[str], inputs: list[Path]) -> None:
        from ..explanation import is_result_file

        self.single = out if out is not None and is_result_file(out) else None
        self._folder = Path() if out is None else out.parent if self.single is not None else out
        self._formats = formats
        self._inputs = inputs
        self._taken: set[str] = set()

    def prepare(self) -> None:
        """Make the folder, before anything is computed.

        Raises:
            OutputError: it cannot be made or written to.
        """
        from ..image.files import make_folder

        make_folder(self._folder)

    def save(self, explanation: Explanation, rank: int | None) -> list[Path]:
        """Write one explanation; ``rank`` (1, 2, ...) tells several of one photo apart."""
        if self.single is not None:
            path = self.single if rank is None else self.single.with_stem(f"{self.single.stem}_{rank}")
        else:
            path = self._folder / f"{self._fresh(explanation.stem, explanation.method, rank)}.png"
        formats = self._formats or None if self.single is not None else self._formats or ["png"]
        for written in explanation.paths(path, formats):
            refuse_overwriting(written, self._inputs)
        return explanation.save(path, formats)

    def _fresh(self, stem: str, method: str, rank: int | None) -> str:
        """``<photo>_<method>``, with the rank, and with a number where two photos have one name."""
        suffix = "" if rank is None else f"_{rank}"
        name, count = f"{stem}_{method}{suffix}", 2
        while name in self._taken:
            name, count = f"{stem}_{count}_{method}{suffix}", count + 1
        self._taken.add(name)
        return name

"""``onnxplain explain --again``: a recorded map made once more, and whether it is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import FAILED, ONNX_RUNTIME, ModelOptions, print_json, say, short_path, split_model

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..results.explanation import Explanation
    from ..results.recorded import Recorded, Verdict
    from .results import Sink


def again(
    record: Path,
    paths: Sequence[Path],
    sinks_for: Callable[[int, list[Path]], Sequence[Sink]],
    loading: ModelOptions,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the maps of a file with records again; exit code 1 unless all are the same.

    ``paths`` are a model and photos in the place of the recorded ones; ``sinks_for`` takes the number of records, and
    the files that are read.

    Raises:
        InputError: the file holds no record, or model or photo are others than the recorded ones.
    """
    from ..results.recorded import read_records

    records = read_records(record)
    model, photos = split_model(paths)
    if photos and len(photos) != len(records):
        raise click.BadParameter(f"{record} has {len(records)} records, and {len(photos)} photos are named.")
    named: Sequence[Path | None] = photos or [None] * len(records)
    read = [(one, one.model(model), one.photo(photo)) for one, photo in zip(records, named)]
    outputs = sinks_for(len(records), [record, *(path for _, *files in read for path in files)])
    for sink in outputs:
        sink.prepare()
    explainers: dict[str, Explainer] = {}
    results: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []
    for one, file, photo in read:
        key = repr((file, one.values["loading"], one.values["preprocessing"], one.values["provider"]))
        explainer = (
            explainers.setdefault(key, _explainer(one, file, loading)) if key not in explainers else explainers[key]
        )
        made = explainer.explain(photo, one.target(), one.method(), progress=False)
        verdicts.append(one.verdict(made))
        files = [str(path) for sink in outputs for path in sink.add(made, None)]
        results.append({**made.to_dict(), "files": files})
        if not (as_json or quiet):
            _tell(made, verdicts[-1], files)
    written = [str(path) for sink in outputs for path in sink.finish()]
    if as_json:
        facts = {"model": str(read[0][1]), "provider": explainer.provider, "preprocessing": results[0]["preprocessing"]}
        shown = [verdict.to_dict() for verdict in verdicts]
        print_json({**facts, "results": results, "files": written, "errors": [], "again": shown})
    if not all(verdict.same for verdict in verdicts):
        raise click.exceptions.Exit(FAILED)


def _explainer(record: Recorded, model: Path, loading: ModelOptions) -> Explainer:
    """Return what made the map, on the recorded provider unless another is asked for."""
    from ..explainer import Explainer
    from ..runtime.openvino import OPENVINO

    asked = loading.arguments()
    chosen = {"batch_size": asked["batch_size"]}
    if asked["providers"]:
        return Explainer(model, **record.loading(), **chosen, providers=asked["providers"], runtime=asked["runtime"])
    if asked["runtime"] != ONNX_RUNTIME or record.values["provider"] == OPENVINO:
        return Explainer(model, **record.loading(), **chosen, runtime="openvino")
    return Explainer(model, **record.loading(), **chosen, providers=record.values["provider"])


def _tell(made: Explanation, verdict: Verdict, files: Sequence[str]) -> None:
    arrow = f" -> {', '.join(files)}" if files else ""
    say(f"{short_path(made.source)}: {made.title}{arrow}: {verdict.title}")

"""``onnxplain bulk``: maps of many photos as Parquet shards, here or on a cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..errors import InputError
from .common import Failures, Json, ModelOptions, Precision, Quiet, guarded, print_json
from .methods import chosen_methods, method_help
from .questions import QuestionOptions
from .signatures import Argument, Option

if TYPE_CHECKING:
    from ..bulk.run import Done, Engine

#: The exit code of a run that is done, with photos that failed.
WITH_ERRORS = 3


@dataclass(frozen=True)
class SourceOptions:
    """Where photos come from, besides the source itself."""

    root: Annotated[
        Path | None,
        Option("--root", help="No photo is read outside of this folder. Default: the source's own."),
    ] = None
    path_column: Annotated[
        str, Option("--path-column", help="Column of a manifest with the paths, counted from its folder.")
    ] = "path"
    target_column: Annotated[
        str | None,
        Option(
            "--target-column", help="Column of a manifest, or suffix of files in a tar (cls), with each photo's class."
        ),
    ] = None


@dataclass(frozen=True)
class ShardOptions:
    """How maps are kept, and when a run goes on or stops."""

    formats: Annotated[
        str | None,
        Option(
            "--format",
            "-f",
            help="Write besides, from the shards: png (pictures), html (a report), fiftyone (heat maps and a dataset).",
        ),
    ] = None
    maps: Annotated[str, Option("--maps", help="float16, or uint8 for half the size.")] = "float16"
    shard_size: Annotated[int, Option("--shard-size", help="Photos in a file.")] = 1000
    resume: Annotated[bool, Option("--resume", help="Go on with a run: skip the shards that are there.")] = False
    max_errors: Annotated[
        int | None, Option("--max-errors", help="Stop after more errors than these. Default: never.")
    ] = None


@dataclass(frozen=True)
class EngineOptions:
    """What has the shards written."""

    engine: Annotated[str, Option("--engine", help="local: here; ray: actors of a Ray cluster.")] = "local"
    address: Annotated[
        str | None, Option("--address", help="Of a Ray cluster (auto, HOST:PORT). Default: a new one, here.")
    ] = None
    actors: Annotated[
        int | None, Option("--actors", help="Actors of Ray. Default: one for each GPU, or each machine.")
    ] = None
    gpus: Annotated[float | None, Option("--gpus", help="GPUs of an actor; 0.5: two actors share one.")] = None

    def chosen(self) -> Engine:
        """Return the engine.

        Raises:
            InputError: there is none of that name, or an option does not belong to it.
        """
        from ..bulk.on_ray import RayEngine
        from ..bulk.run import in_this_process

        if self.engine == "ray":
            if (self.actors is not None and self.actors < 1) or (self.gpus is not None and self.gpus < 0):
                raise InputError(f"--actors is 1 or more, --gpus 0 or more; found {self.actors} and {self.gpus}.")
            return RayEngine(self.address, self.actors, self.gpus)
        if self.engine != "local":
            raise InputError(f"--engine is local or ray; found {self.engine!r}.")
        if (self.address, self.actors, self.gpus) != (None, None, None):
            raise InputError("--address, --actors and --gpus belong to --engine ray.")
        return in_this_process


@guarded
def bulk(
    paths: Annotated[
        list[Path],
        Argument(
            metavar="[MODEL] SOURCE",
            help="An ONNX model (default: the bundled classifier), and a folder of photos or tars, a .csv or .parquet "
            "file with a column of paths, or a WebDataset .tar.",
        ),
    ],
    out: Annotated[Path, Option("-o", "--output", help="The folder of the shards.", metavar="DIR")],
    method: Annotated[
        str,
        Option("--method", "-m", help='The attribution method; "help" lists all.', callback=method_help),
    ] = "saliency",
    option: Annotated[
        list[str] | None,
        Option("--set", help="An option of the method: samples=20; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    *,
    where: SourceOptions,
    shards: ShardOptions,
    cluster: EngineOptions,
    question: QuestionOptions,
    loading: ModelOptions,
    precision: Precision = "float32",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain many photos, and write the maps as Parquet shards.

    Photos that fail are rows with an error. Exit codes: 0 done, 1 stopped, 3 done with errors.
    """
    from ..bulk.outputs import FORMATS
    from ..bulk.run import Wanted, run
    from ..bulk.sources import open_source
    from ..bulk.worker import BulkExplainer

    [how, *others] = chosen_methods(method, option or [])
    if others:
        raise InputError("--method: one method for a folder of shards; run the others into folders of their own.")
    question.check()
    model, place = _split(paths)
    if where.target_column is not None and question.target:
        raise InputError("--target-column states a class for each photo; leave out --target.")
    checked, engine, formats = _checked(shards), cluster.chosen(), _formats(shards.formats)
    source = open_source(place, leave_out=out, **_fields(where))
    options = {**loading.arguments(), "precision": precision, "gradients": how.gradients}
    explainer = BulkExplainer(model, **options)
    [target, *more] = question.targets(explainer)
    if more:
        raise InputError("--target: one question for a folder of shards (a class, or top3).")
    wanted = Wanted(model, options, how, target, **checked)
    silent, most = quiet or as_json, shards.max_errors
    done = run(wanted, source, out, explainer, engine=engine, resume=shards.resume, max_errors=most, quiet=silent)
    failures = Failures()
    files = [str(FORMATS[name](out, source.root, failures)) for name in formats]
    if as_json:
        print_json({**asdict(done), "folder": str(done.folder), "files": files, "unread": failures.listed})
    elif not quiet:
        print("\n".join([in_words(done), *files]))
    if done.errors or failures.listed:
        raise click.exceptions.Exit(WITH_ERRORS)


def in_words(done: Done) -> str:
    """What a run came to, as one line."""
    skipped = f" ({done.skipped} were there)" if done.skipped else ""
    counts = [_counted(done.photos, "photo"), _counted(done.shards, "shard"), _counted(done.errors, "error")]
    return f"{done.folder}: {counts[0]} in {counts[1]}{skipped}, {counts[2]}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _split(paths: list[Path]) -> tuple[Path | None, Path]:
    if len(paths) > 2:
        raise click.BadParameter(f"takes a model and one source; found {len(paths)} paths.")
    return (None, paths[0]) if len(paths) == 1 else (paths[0], paths[1])


def _checked(shards: ShardOptions) -> dict[str, Any]:
    """Return the arguments that say how maps are kept.

    Raises:
        InputError: one makes no sense.
    """
    from ..checks import check_count

    if shards.maps not in ("float16", "uint8"):
        raise InputError(f"--maps is float16 or uint8; found {shards.maps!r}.")
    if shards.max_errors is not None:
        check_count("--max-errors", shards.max_errors, 0)
    return {"kind": shards.maps, "shard_size": check_count("--shard-size", shards.shard_size)}


def _formats(names: str | None) -> list[str]:
    """Return the names of ``--format``.

    Raises:
        InputError: one is unknown.
    """
    from ..bulk.outputs import FORMATS

    found = [] if names is None else list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in found:
        if name not in FORMATS:
            raise InputError(f"--format: {name!r} is unknown; there are {', '.join(FORMATS)}.")
    return found


def _fields(options: SourceOptions) -> dict[str, Any]:
    return {one.name: getattr(options, one.name) for one in fields(options)}

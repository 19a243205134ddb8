"""What the commands share: errors as one line, options, results on stdout."""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ..errors import OnnxplainError, OutputError

FAILED, INTERRUPTED = 1, 130

F = TypeVar("F", bound=Callable[..., None])

PreprocessingName = Annotated[
    str | None, typer.Option("--preprocessing", help="A preset (imagenet, tf, caffe, clip, none) or a JSON file.")
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Class names: a .txt, .json or .csv file.")]
Providers = Annotated[
    list[str] | None,
    typer.Option("--provider", help="cuda, cpu, or a name as in ONNX Runtime; repeatable, in order of preference."),
]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0 is all.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Tensor = Annotated[
    str | None, typer.Option("--tensor", help="Tensor to explain. Default: the first float output.", metavar="NAME")
]
Score = Annotated[
    str,
    typer.Option("--score", help="logit: look through a final softmax or sigmoid; probability: keep it."),
]
Precision = Annotated[
    str, typer.Option("--precision", help="float32, or float16: half precision, for GPUs; scores and maps change.")
]
ClassAxis = Annotated[int | None, typer.Option("--class-axis", help="Axis of the output that counts classes.")]
ChannelAxis = Annotated[int | None, typer.Option("--channel-axis", help="Axis of the input that counts channels.")]


def report(message: object, kind: str = "error") -> None:
    """One line on stderr."""
    text = " ".join(str(message).split())
    print(f"onnxplain: {kind}: {text}", file=sys.stderr)


def guarded(command: F) -> F:
    """``command`` with every error that a user can cause as one line on stderr and exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            report("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except (OnnxplainError, OSError) as error:
            report(error)
            raise typer.Exit(FAILED) from None
        except MemoryError:
            report("out of memory; use smaller photos or a smaller --batch-size")
            raise typer.Exit(FAILED) from None

    return run  # type: ignore[return-value]


@contextmanager
def warnings_as_lines(quiet: bool) -> Iterator[None]:
    """Print our warnings as one line on stderr each, or not at all."""

    def show(message: Warning | str, *_: object) -> None:
        report(message, "warning")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "default", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def print_json(document: object) -> None:
    """A JSON document on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def refuse_overwriting(path: Path, inputs: list[Path]) -> None:
    """Raise if ``path`` is one of the files that are read.

    Raises:
        OutputError: with the path.
    """
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise OutputError(f"{path} is an input of this command and would be overwritten; name another output.")


def split_model(paths: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """The model, if the first path is neither a folder nor named like a picture, and all photos of the rest.

    Raises:
        ImageError: a folder without images.
    """
    from ..photos import find_images
    from ..photos.load import SUFFIXES

    model, rest = None, list(paths)
    if rest and not rest[0].is_dir() and rest[0].suffix.lower() not in SUFFIXES:
        model = rest.pop(0)
    return model, [photo for path in rest for photo in (find_images(path) if path.is_dir() else [path])]


def target_of(text: str | None) -> int | str | None:
    """A class index where ``text`` is a number, else the label that it is."""
    return int(text) if text is not None and text.strip().lstrip("+-").isdigit() else text

"""What the commands share: errors as one line, options, results on stdout."""

from __future__ import annotations

import functools
import inspect
import json
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import click

from ..bundled import bundled_folder
from ..errors import InputError, OnnxplainError, OutputError
from ..text import json_text, printable
from .signatures import Option

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..layout import LayoutLike

FAILED, INTERRUPTED = 1, 130
ONNX_RUNTIME = "onnxruntime"
#: Of a number that is a class or a place.
_DIGITS = 15
_LONGEST_LINE = 1000

#: Suffixes of models.
_MODELS = (".onnx", ".ort", ".pb")

PreprocessingName = Annotated[
    str | None, Option("--preprocessing", help="A preset (imagenet, tf, caffe, clip, none) or a JSON file.")
]
LabelsFile = Annotated[Path | None, Option("--labels", help="Class names: a .txt, .json or .csv file.")]
Providers = Annotated[
    list[str] | None,
    Option("--provider", help="cuda, cuda:1, cpu, or a name of ONNX Runtime; repeatable, the first is preferred."),
]

RuntimeName = Annotated[
    str, Option("--runtime", help="What runs the model: onnxruntime, or openvino (on the CPU).", metavar="NAME")
]


def _checked_threads(count: int) -> int:
    from ..runtime.workers import cores

    if not 0 <= count <= cores():
        raise click.BadParameter(f"{count} is not 0 (all) or a number of threads from 1 to {cores()}, the cores here.")
    return count


Threads = Annotated[int, Option("--threads", help="CPU threads; 0 is all.", callback=_checked_threads)]
Json = Annotated[bool, Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print errors only.")]
Tensor = Annotated[
    str | None, Option("--tensor", help="Tensor to explain. Default: the first float output.", metavar="NAME")
]
Score = Annotated[
    str,
    Option("--score", help="logit: look through a final softmax or sigmoid; probability: keep it."),
]
Precision = Annotated[
    str, Option("--precision", help="float32, or float16: half precision, for GPUs; scores and maps change.")
]
LayoutText = Annotated[
    str | None,
    Option("--layout", help='What the output means: yolov8, segmentation, ctc ..., or JSON with "name".'),
]
ClassAxis = Annotated[int | None, Option("--class-axis", help="Axis of the output that counts classes.")]
ChannelAxis = Annotated[int | None, Option("--channel-axis", help="Axis of the input that counts channels.")]


@dataclass(frozen=True)
class ModelOptions:
    """The options of every command that runs a model; :func:`guarded` makes options of a command of the fields."""

    preprocessing: PreprocessingName = None
    labels: LabelsFile = None
    runtime: RuntimeName = ONNX_RUNTIME
    provider: Providers = None
    batch_size: Annotated[int | None, Option("--batch-size", help="Samples that run at once.")] = None
    threads: Threads = 0
    tensor: Tensor = None
    score: Score = "logit"
    layout: LayoutText = None
    class_axis: ClassAxis = None
    channel_axis: ChannelAxis = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of an Explainer that these options are."""
        from ..runtime.providers import named as provider_of

        named = provider_of if self.runtime == ONNX_RUNTIME else str
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        names, layout = given.pop("provider"), given.pop("layout")
        given["layout"] = None if layout is None else layout_of(layout)
        return {**given, "providers": [named(name) for name in names] if names else None}

    def explainer(self, model: Path | None, **others: Any) -> Explainer:
        """Return the Explainer of ``model`` (None: the bundled classifier); ``others`` are further arguments of it."""
        from ..explainer import Explainer

        return Explainer(model, **self.arguments(), **others)


def report(message: object, kind: str = "error") -> None:
    """One line on stderr; with ``--debug``, after the calls that led to it, if it is an error."""
    if isinstance(message, BaseException):
        _trace(message)
    text = " ".join(str(message).split())
    if len(text) > _LONGEST_LINE:  # with a name in it, or a value, that is long beyond all reading
        text = f"{text[: _LONGEST_LINE // 2]} ... {text[-_LONGEST_LINE // 4 :]}"
    print(printable(f"onnxplain: {kind}: {text}"), file=sys.stderr)


#: Whether ``--debug`` was given.
_debug = False


def set_debug(wanted: bool) -> None:
    """Take over ``--debug``: errors are reported with the calls that led to them."""
    global _debug
    _debug = wanted


def _trace(error: BaseException) -> None:
    """Print the calls that led to an error and to its causes, if that is wanted."""
    if _debug:
        lines = "".join(traceback.format_exception(error)).splitlines()
        print("\n".join(map(printable, lines)), file=sys.stderr)


class Failures:
    """The photos that failed: called with a photo's name and its error, it reports each once, on stderr."""

    def __init__(self) -> None:
        self.listed: list[dict[str, str]] = []

    def __call__(self, name: str, error: OnnxplainError) -> None:
        failure = {"image": name, "error": str(error)}
        if failure not in self.listed:  # several methods read a photo several times
            report(error)
            self.listed.append(failure)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as click takes it: errors and warnings as lines on stderr, groups of options as options.

    Every error that a user can cause is one line and exit code 1; so is every warning, unless ``quiet``. A parameter
    whose type is a dataclass, such as :class:`ModelOptions`, becomes an option for each of its fields.
    """
    parameters, groups = _expanded(command)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        try:
            with warnings_as_lines(given.get("quiet", False)):
                command(**given)
        except BrokenPipeError:
            raise
        except (OnnxplainError, OSError) as error:
            if _was_interrupted():  # what was interrupted has turned Ctrl-C into an error of its own
                raise click.exceptions.Exit(INTERRUPTED) from None
            report(error)
            raise click.exceptions.Exit(FAILED) from None
        except MemoryError as error:
            _trace(error)
            report("out of memory; use smaller photos or a smaller --batch-size.")
            raise click.exceptions.Exit(FAILED) from None

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _was_interrupted() -> bool:
    """Whether Ctrl-C was pressed, as the handler of ``__main__`` remembers."""
    return getattr(signal.getsignal(signal.SIGINT), "seen", False)


def _expanded(command: Callable[..., None]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Return the parameters of a command, groups replaced by their fields, and the groups by their names."""
    hints = inspect.get_annotations(command, eval_str=True)  # get_type_hints hides options of None in Python 3.10
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for one in inspect.signature(command).parameters.values():
        group = hints[one.name]
        if not is_dataclass(group):
            parameters.append(one.replace(annotation=group))
            continue
        groups[one.name] = group
        inner = get_type_hints(group, include_extras=True)
        parameters += [one.replace(name=f.name, default=f.default, annotation=inner[f.name]) for f in fields(group)]
    return parameters, groups


@contextmanager
def warnings_as_lines(quiet: bool) -> Iterator[None]:
    """Print warnings as one line on stderr each, or not at all; never what libraries tell those who program."""

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if not issubclass(category, DeprecationWarning):
            report(message, "warning")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "default", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def print_json(document: object) -> None:
    """A JSON document on stdout."""
    print(json_text(document))


def say(*lines: str) -> None:
    """Lines on stdout, each of which stays one."""
    for line in lines:
        print(printable(line))


def short_path(path: str | Path | None) -> str:
    """Return a path as people read it: below the current folder, below home, or a file of onnxplain's by its name."""
    place = Path(path or "")
    if not place.is_absolute():
        return str(path)
    if place.parent == bundled_folder():
        return place.name
    for folder, shown in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if place.is_relative_to(folder) and folder != Path(folder.anchor):
            return str(shown / place.relative_to(folder))
    return str(path)


def refuse_overwriting(path: Path, inputs: list[Path]) -> None:
    """Raise if ``path`` is one of the files that are read.

    Raises:
        OutputError: with the path.
    """
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise OutputError(f"{path} is an input of this command and would be overwritten; name another output.")


def files_read(model: Path | None, photos: Sequence[Path]) -> list[Path]:
    """Return the files that a command reads: the photos, and the model if one is named."""
    return [*photos, *([] if model is None else [model])]


def split_model(paths: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Return the model, if the first path is neither a folder nor named like a picture, and all photos of the rest.

    Raises:
        InputError: the first path does not exist, and is named neither like a model nor like a picture.
        ImageError: a folder without images.
    """
    from ..photos import find_images
    from ..photos.load import SUFFIXES

    model, rest = None, list(paths)
    if rest and not rest[0].is_dir() and rest[0].suffix.lower() not in SUFFIXES:
        model = rest.pop(0)
        if not model.exists() and model.suffix.lower() not in _MODELS:
            raise InputError(f"{model} does not exist; name an ONNX model, a photo, or a folder of photos.")
    return model, [photo for path in rest for photo in (find_images(path) if path.is_dir() else [path])]


def layout_of(text: str) -> LayoutLike:
    """Return the layout that ``--layout`` states: a name, or an object in JSON.

    Raises:
        InputError: it is neither, there is no such layout, or a field makes no sense.
    """
    from ..layout import find_layout

    stated: object = text.strip()
    if text.lstrip().startswith("{"):
        try:
            stated = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"--layout: {text[:80]!r} is no JSON: {error}.") from None
    return find_layout(stated)  # type: ignore[arg-type]


def target_of(text: str) -> int | str:
    """Return a class index where ``text`` is a number, else the label that it is.

    Raises:
        InputError: the number has more digits than any model has classes.
    """
    number = whole_number(text)
    return text if number is None else number


def whole_number(text: str) -> int | None:
    """Return the number that ``text`` is, or None.

    Raises:
        InputError: it has more digits than the number of anything.
    """
    digits = text.strip()
    if not re.fullmatch("[+-]?[0-9]+", digits):
        return None
    if len(digits) > _DIGITS:
        raise InputError(f"{digits[:_DIGITS]}... has {len(digits)} digits; a class or a place has at most {_DIGITS}.")
    return int(digits)

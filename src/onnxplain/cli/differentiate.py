"""``onnxplain differentiate``: write the model with its gradients as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..errors import InputError
from .common import (
    ChannelAxis,
    ClassAxis,
    Json,
    LayoutText,
    Precision,
    PreprocessingName,
    Quiet,
    Score,
    Tensor,
    guarded,
    layout_of,
    print_json,
    refuse_overwriting,
    say,
)
from .questions import kind_of
from .signatures import Argument, Option

if TYPE_CHECKING:
    import onnx

    from ..autodiff.graph.passes import Report

ExplainPasses = Annotated[
    bool, Option("--explain-passes", help="Say what each pass on the graph rewrote, what it did not, and why.")
]


@guarded
def differentiate(
    model: Annotated[Path, Argument(help="An ONNX model.")],
    out: Annotated[Path, Option("-o", "--output", help="The file to write.", metavar="OUT.onnx")],
    saliency: Annotated[
        bool, Option("--saliency", help="Add an output saliency_<input> [N,H,W], normalised, for every input.")
    ] = False,
    tensor: Tensor = None,
    wrt: Annotated[
        list[str] | None,
        Option("--wrt", help="Input or inner tensor, repeatable. Default: every float input.", metavar="NAME"),
    ] = None,
    target: Annotated[
        str | None,
        Option(
            "--target",
            help="cotangent: an input shaped like the output in the place of the class; box.width and the like of "
            "detectors.",
            metavar="KIND",
        ),
    ] = None,
    at: Annotated[
        str | None,
        Option(
            "--at",
            help="How the place in the output is given or found: position, region, box, best, own or all.",
            metavar="KIND",
        ),
    ] = None,
    versus: Annotated[
        bool, Option("--versus", help="Less the score of another class, which is an input, too.")
    ] = False,
    like: Annotated[
        bool, Option("--like", help="The cosine with a vector, which is an input, in the place of a class.")
    ] = False,
    layout: LayoutText = None,
    score: Score = "logit",
    class_axis: ClassAxis = None,
    precision: Precision = "float32",
    channel_axis: ChannelAxis = None,
    static: Annotated[
        list[str] | None,
        Option(
            "--static",
            help="Fix open dimensions of the inputs, by their names: N=1,H=224; Loop and Scan of known length go.",
            metavar="NAME=EXTENT,...",
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        Option(
            "--with-preprocessing",
            help="Let the file take photos, uint8 [N,H,W,3] of any size, and return saliency_photo in their pixels.",
        ),
    ] = False,
    preprocessing: PreprocessingName = None,
    explain_passes: ExplainPasses = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write MODEL with the gradient of a class score as ordinary outputs.

    The new file has the input target [N] (class indices) and the outputs score [N] and
    grad_<input>, and runs wherever ONNX runs. If MODEL keeps weights in files beside
    it, so does the new one, in OUT.onnx.data.
    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..autodiff import differentiate_file
    from ..autodiff.graph.passes import Report
    from ..autodiff.to_file import files_of
    from ..preprocessing import find_preprocessing

    refuse_overwriting(out, [model])
    inside = with_preprocessing or preprocessing is not None
    report = Report()
    found = differentiate_file(
        model,
        out,
        tensor=tensor,
        wrt=wrt or None,
        target=kind_of(target, at, versus, like),
        score=score,
        layout=None if layout is None else layout_of(layout),
        class_axis=class_axis,
        precision=precision,
        saliency=saliency,
        channel_axis=channel_axis,
        static=_extents(static),
        with_preprocessing=find_preprocessing(model, preprocessing, channel_axis=channel_axis) if inside else None,
        report=report,
    )
    files = files_of(found, out)
    if as_json:
        print_json(_document(found, files) | ({"passes": _passes(report)} if explain_passes else {}))
    elif not quiet:
        say(_summary(found, files))
        if explain_passes:
            say(*_lines(report))


def _extents(texts: Sequence[str] | None) -> dict[str, int] | None:
    """What ``--static`` says, all of it together.

    Raises:
        InputError: a part is no name with a whole number.
    """
    if not texts:
        return None
    found = {}
    for part in ",".join(texts).split(","):
        name, equals, extent = part.strip().rpartition("=")
        if not (equals and name and extent.strip().isdecimal()):
            raise InputError(f"--static: {part!r} is no dimension with its extent; write NAME=NUMBER, as in N=1,H=224.")
        found[name.strip()] = int(extent)
    return found


def _added(model: onnx.ModelProto) -> dict[str, str]:
    """What the metadata say of the differentiated model."""
    return {p.key.removeprefix("onnxplain."): p.value for p in model.metadata_props if p.key.startswith("onnxplain.")}


def _document(model: onnx.ModelProto, files: Sequence[Path]) -> dict[str, object]:
    return {
        "file": str(files[0]),
        "data": str(files[1]) if len(files) > 1 else None,
        "bytes": sum(file.stat().st_size for file in files),
        "nodes": len(model.graph.node),
        "score_tensor": _added(model)["score_tensor"],
        "inputs": [v.name for v in model.graph.input],
        "outputs": [v.name for v in model.graph.output],
    }


def _summary(model: onnx.ModelProto, files: Sequence[Path]) -> str:
    given = {name for key, name in _added(model).items() if key != "score_tensor"}
    new = ", ".join(v.name for v in [*model.graph.input, *model.graph.output] if v.name in given)
    return f"{' and '.join(map(str, files))}: {len(model.graph.node)} nodes; new inputs and outputs: {new}"


def _passes(report: Report) -> dict[str, list[dict[str, object]]]:
    """Every pass before and after the walk: how many nodes it rewrote, and left alone for which reason."""
    found: dict[str, list[dict[str, object]]] = {"before": [], "after": []}
    for record in report.records:
        found[record.phase].append(
            {
                "name": record.name,
                "needs": record.needs,
                "ensures": record.ensures,
                "rewritten": record.fired,
                "left_alone": record.left,
            }
        )
    return found


def _lines(report: Report) -> Iterator[str]:
    """The same for people: a line for each pass, and below it one for each reason."""
    for phase in ("before", "after"):
        yield f"passes {phase} the walk:"
        for record in report.records:
            if record.phase == phase:
                met = record.fired or record.left
                yield f"  {record.name}: {f'{record.fired} rewritten' if met else 'met nothing to rewrite'}"
                yield from (f"    {count} left alone: {reason}" for reason, count in record.left.items())

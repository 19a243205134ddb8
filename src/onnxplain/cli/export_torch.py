"""``onnxplain export-torch``: from a torch module to a differentiated model that agrees with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..errors import InputError
from .common import ChannelAxis, ClassAxis, Json, Quiet, Score, Tensor, guarded, print_json, say
from .signatures import Argument, Option


@guarded
def export_torch(
    factory: Annotated[str, Argument(help="package.module:factory; called without arguments.")],
    out: Annotated[Path, Option("-o", "--output", help="The file to write.", metavar="OUT.onnx")],
    input_shape: Annotated[
        list[str] | None,
        Option(
            "--input-shape",
            help="Shape of an input, batch first, and its type if it is not float32: 1,3,224,224 or 1,16:int64. "
            "Repeat it for several inputs.",
            metavar="SHAPE",
        ),
    ] = None,
    input_name: Annotated[
        list[str] | None, Option("--input-name", help="Name of an input, in order, repeatable.", metavar="NAME")
    ] = None,
    fixed_batch: Annotated[bool, Option("--fixed-batch", help="Keep the batch of --input-shape.")] = False,
    opset: Annotated[int, Option("--opset", help="Opset of the exported graph.")] = 18,
    exporter: Annotated[
        str | None, Option("--exporter", help="dynamo or torchscript. Default: the first that works.")
    ] = None,
    forward_only: Annotated[bool, Option("--forward-only", help="Export without gradients.")] = False,
    labels: Annotated[Path | None, Option("--labels", help="Class names: a .txt, .json or .csv file.")] = None,
    preprocessing: Annotated[
        str | None,
        Option("--preprocessing", help="A preset (imagenet, tf, caffe, clip, none) or a JSON file."),
    ] = None,
    saliency: Annotated[bool, Option("--saliency", help="Add an output saliency_<input> [N,H,W].")] = False,
    tensor: Tensor = None,
    score: Score = "logit",
    class_axis: ClassAxis = None,
    channel_axis: ChannelAxis = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export the torch module that FACTORY makes, with its gradients, and compare both with torch.

    The comparison runs on random inputs. A model that disagrees with torch.autograd is not written.
    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..from_torch.export import export_torch as export
    from ..from_torch.export import load_module, random_inputs

    shapes = [_shape(text) for text in input_shape or ["1,3,224,224"]]
    found = export(
        load_module(factory),
        random_inputs(shapes),
        out,
        input_names=input_name or None,
        dynamic_batch=not fixed_batch,
        labels=labels,
        preprocessing=preprocessing,
        opset=opset,
        exporter=exporter,
        differentiate=not forward_only,
        tensor=tensor,
        score=score,
        class_axis=class_axis,
        saliency=saliency,
        channel_axis=channel_axis,
    )
    differences = found.comparison.differences
    if as_json:
        document = {
            "file": str(out),
            "exporter": found.exporter,
            "fallback": found.fallback,
            "reference": found.comparison.reference,
            "differences": differences,
            "allowed": found.comparison.allowed,
        }
        print_json(document)
    elif not quiet:
        listed = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        reason = f" ({found.fallback})" if found.fallback else ""
        say(f"{out}: exported by {found.exporter}{reason}; differences from torch: {listed}")


def _shape(text: str) -> tuple[list[int], str]:
    shape, _, dtype = text.partition(":")
    try:
        extents = [int(part) for part in shape.split(",")]
    except ValueError:
        extents = []
    if not extents or min(extents) < 1:
        raise InputError(f"--input-shape {text!r} is no shape; write 1,3,224,224 or 1,16:int64.")
    return extents, dtype or "float32"

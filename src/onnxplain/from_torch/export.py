"""From a torch module to a differentiated ONNX file that is known to agree with torch.autograd."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from ..autodiff.differentiate import add_gradients
from ..autodiff.graph.io import read_model
from ..autodiff.request import Request
from ..autodiff.to_file import publish, write_files
from ..checks import install_hint
from ..errors import InputError, ModelError, OnnxplainError, OutputError, RuntimeMissingError
from ..files import unfinished_folder
from ..photos import PreprocessingLike, resolve_labels, resolve_preprocessing
from ..photos.labels import LabelsLike
from ..runtime import Session
from ..target import Target
from .reference import Comparison, compare

if TYPE_CHECKING:
    import torch

EXPORTERS = ("dynamo", "torchscript")
DEFAULT_OPSET = 18


@dataclass(frozen=True, repr=False)
class TorchExport:
    """What :func:`export_torch` wrote and how well it agrees with torch.

    ``exporter`` is the one of torch's exporters that made the graph, and ``fallback`` why it was not the first one.
    """

    path: Path
    exporter: str
    fallback: str | None
    comparison: Comparison

    def __repr__(self) -> str:
        largest = max(self.comparison.differences.values(), default=0.0)
        return f"<TorchExport {self.path} by {self.exporter}: differs from torch by {largest:.1e} at most>"


def export_torch(
    module: torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[torch.Tensor],
    path: str | os.PathLike[str],
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
    labels: LabelsLike | None = None,
    preprocessing: PreprocessingLike | None = None,
    opset: int = DEFAULT_OPSET,
    exporter: str | None = None,
    differentiate: bool = True,
    target: Target | None = None,
    tensor: str | None = None,
    wrt: str | Sequence[str] | None = None,
    score: str = "logit",
    class_axis: int | None = None,
    saliency: bool = False,
    channel_axis: int | None = None,
) -> TorchExport:
    """Export ``module``, add its gradients, compare both with torch, and only then write the file.

    The comparison runs on the example, tiled to a batch that the exporter has not seen where the batch is dynamic,
    for the best classes of each sample in turn. Scores and gradients may differ from torch's in float64, relative to
    the largest one, by what :class:`Comparison` allows in view of torch's own float32 error. Paths of source files,
    stack traces and doc strings that the exporter leaves in the graph are removed.

    Longer than 60 lines by its options and the clean-up behind each step.

    Args:
        module: in eval mode, on the CPU. Never modified.
        example_inputs: a tensor, or one for each argument of ``forward``, batch first: typical values, since the
            comparison is made at them.
        path: the file to write; weights above 2 GB go to ``<path>.data``.
        input_names: default the names of ``forward``'s arguments.
        output_names: default ``output``, or ``output_0``, ``output_1`` ...
        dynamic_batch: leave axis 0 open in every input whose extent there is that of the first input.
        labels: class names, as for the Explainer; written into the file's metadata.
        preprocessing: how photos become the input, as for the Explainer; written into the file's metadata.
        opset: of the exported graph, 18 or newer for ``dynamo``.
        exporter: ``"dynamo"`` or ``"torchscript"``; None tries them in this order.
        differentiate: False writes the forward model alone; ``tensor`` to ``channel_axis`` then have no meaning.
        target, tensor, wrt, score, class_axis, saliency, channel_axis: as for :func:`onnxplain.differentiate`;
            ``tensor`` is an output of the module and ``wrt`` names inputs.

    Raises:
        RuntimeMissingError: torch or ONNX Runtime is not installed.
        InputError: the module is in training mode, or an argument does not fit it.
        ModelError: torch cannot export the module, or the result disagrees with torch; nothing is written.
        UnsupportedOperatorError: an operator on the path has no rule.
        OutputError: ``path`` cannot be written.
    """
    _import_torch()
    inputs = _checked(module, example_inputs)
    names = list(input_names) if input_names is not None else _argument_names(module, len(inputs))
    if len(names) != len(inputs):
        raise InputError(f"input_names has {len(names)} names for {len(inputs)} example inputs; give one for each.")
    if exporter not in (None, *EXPORTERS):
        raise InputError(f"exporter is 'dynamo', 'torchscript' or None; found {exporter!r}.")
    place = Path(path)
    if place.is_dir():
        raise OutputError(f"{place} is a folder; name a file in it.")
    batched = [dynamic_batch and x.ndim > 0 and x.shape[0] == inputs[0].shape[0] for x in inputs]
    if dynamic_batch and inputs[0].shape[0] == 1:  # an exporter takes an extent of one for a constant
        inputs = [x.repeat(2, *[1] * (x.ndim - 1)) if b else x for x, b in zip(inputs, batched)]
    given = _output_names(module, inputs, output_names)
    proto, used, fallback = _export(module, inputs, batched, names, given, opset, exporter)
    remove_traces(proto)
    model = read_model(proto)
    del proto
    if differentiate:
        request = Request.of(
            target,
            tensor=tensor,
            wrt=wrt,
            score=score,
            class_axis=class_axis,
            saliency=saliency,
            channel_axis=channel_axis,
        )
        add_gradients(model, request)
    if preprocessing is not None:
        shape = ["batch" if batched[0] else inputs[0].shape[0], *inputs[0].shape[1:]]
        dtype = str(inputs[0].dtype).removeprefix("torch.")
        found = resolve_preprocessing(preprocessing, input_shape=shape, input_dtype=dtype)
        model.metadata_props["onnxplain.preprocessing"] = found.preprocessing.to_json()
    try:
        with unfinished_folder(place.parent) as folder:
            written = write_files(model, folder / place.name)
            del model
            session = Session(written, providers=["CPUExecutionProvider"], folder=folder)
            comparison = compare(module, inputs, batched, names, given, written, session)
            if labels is not None:
                texts = resolve_labels(labels, classes=comparison.classes)
                written.metadata_props.add(key="onnxplain.labels", value=json.dumps(texts, ensure_ascii=False))
                (folder / place.name).write_bytes(written.SerializeToString())
            publish(written, folder, place)
    except OSError as error:
        if isinstance(error, OnnxplainError):
            raise
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    return TorchExport(place, used, fallback, comparison)


def load_module(factory: str) -> torch.nn.Module:
    """Return the module that ``package.module:factory`` makes, called without arguments.

    Raises:
        RuntimeMissingError: torch is not installed.
        InputError: it cannot be imported, fails, or makes something else.
    """
    runtime = _import_torch()
    name, _, attribute = factory.partition(":")
    if not name or not attribute:
        raise InputError(f"{factory!r} names no factory; write package.module:factory.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        make: Any = importlib.import_module(name)
        for part in attribute.split("."):
            make = getattr(make, part)
        found = make()
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"{factory} makes no module: {type(error).__name__}: {error}") from error
    if not isinstance(found, runtime.nn.Module):
        raise InputError(f"{factory} makes a {type(found).__name__}; it has to return a torch.nn.Module.")
    module: torch.nn.Module = found
    return module


def random_inputs(shapes: Sequence[tuple[Sequence[int], str]]) -> list[torch.Tensor]:
    """Return a tensor for each shape and type: normal floats, or whole numbers from 0 to 9; the same every time.

    Raises:
        RuntimeMissingError: torch is not installed.
        InputError: a type that torch does not have.
    """
    torch = _import_torch()
    generator = torch.Generator().manual_seed(0)
    found = []
    for shape, name in shapes:
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise InputError(f"torch has no type {name!r}; use float32 or int64, for example.")
        if dtype.is_floating_point:
            found.append(torch.randn(*shape, generator=generator).to(dtype))
        else:
            found.append(torch.randint(0, 10, tuple(shape), generator=generator).to(dtype))
    return found


def remove_traces(proto: onnx.ModelProto) -> None:
    """Remove what an exporter notes about the source code: doc strings, stack traces, scopes; in place."""
    proto.ClearField("doc_string")
    del proto.metadata_props[:]
    for function in proto.functions:
        _bare(function)
        for value in function.value_info:
            _bare(value)
        _bare_nodes(function.node)
    _bare_graph(proto.graph)


def _bare_graph(graph: onnx.GraphProto) -> None:
    _bare(graph)
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        _bare(value)
    _bare_nodes(graph.node)


def _bare_nodes(nodes: Sequence[onnx.NodeProto]) -> None:
    for node in nodes:
        _bare(node)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _bare_graph(graph)


def _bare(message: Any) -> None:
    message.ClearField("doc_string")
    message.ClearField("metadata_props")


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise RuntimeMissingError(f"exporting a torch module needs torch: {install_hint('torch')}.") from error


def _checked(module: Any, example_inputs: Any) -> list[Any]:
    torch = _import_torch()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module is a {type(module).__name__}; pass a torch.nn.Module.")
    if any(part.training for part in module.modules()):
        raise InputError("the module is in training mode; call module.eval() before exporting it.")
    inputs = [example_inputs] if isinstance(example_inputs, torch.Tensor) else list(example_inputs)
    if not inputs or not all(isinstance(x, torch.Tensor) for x in inputs):
        raise InputError("example_inputs is a tensor, or one tensor for each argument of forward.")
    if inputs[0].ndim == 0 or inputs[0].shape[0] == 0:
        raise InputError("the first example input has no batch axis, or an empty one; give at least one sample.")
    return [x.detach() for x in inputs]


def _argument_names(module: Any, count: int) -> list[str]:
    parameters = list(inspect.signature(module.forward).parameters.values())
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names if len(names) == count else [f"input_{index}" for index in range(count)]


def _output_names(module: Any, inputs: Sequence[Any], stated: Sequence[str] | None) -> list[str]:
    torch = _import_torch()
    try:
        with torch.no_grad():
            outputs = torch.utils._pytree.tree_leaves(module(*inputs))
    except Exception as error:  # whatever the module raises
        raise InputError(f"the module fails on the example inputs: {type(error).__name__}: {error}") from error
    if not outputs or not all(isinstance(y, torch.Tensor) for y in outputs):
        raise InputError("the module has to return tensors: one, or a tuple, list or dict of them.")
    if stated is None:
        return ["output"] if len(outputs) == 1 else [f"output_{index}" for index in range(len(outputs))]
    if len(stated) != len(outputs):
        raise InputError(f"output_names has {len(stated)} names for {len(outputs)} outputs; give one for each.")
    return list(stated)


def _export(
    module: Any,
    inputs: Sequence[Any],
    batched: Sequence[bool],
    names: list[str],
    outputs: list[str],
    opset: int,
    exporter: str | None,
) -> tuple[onnx.ModelProto, str, str | None]:
    """Return the exported model, the exporter that made it, and why the one before it did not."""
    reasons: dict[str, str] = {}
    makers: dict[str, Callable[..., onnx.ModelProto]] = {"dynamo": _dynamo, "torchscript": _torchscript}
    for name in EXPORTERS if exporter is None else [exporter]:
        try:
            with _quiet():
                proto = makers[name](module, inputs, batched, names, outputs, opset)
            if any(batched) and not _is_open(proto, names[batched.index(True)]):
                raise ModelError("the batch became a constant.")
            return proto, name, "; ".join(reasons.values()) or None
        except Exception as error:  # the exporters raise whatever fails inside of them
            lines = [line for line in str(error).strip().splitlines() if line.strip()]
            reasons[name] = f"{name}: {type(error).__name__}: {lines[0] if lines else ''}"
    raise ModelError(f"torch cannot export the module; {'; '.join(reasons.values())}.")


def _dynamo(
    module: Any, inputs: Sequence[Any], batched: Sequence[bool], names: list[str], outputs: list[str], opset: int
) -> onnx.ModelProto:
    torch = _import_torch()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        module,
        tuple(inputs),
        dynamo=True,
        opset_version=opset,
        input_names=names,
        output_names=outputs,
        dynamic_shapes=tuple({0: batch} if b else None for b in batched),
        verbose=False,
    )
    proto: onnx.ModelProto = program.model_proto
    return proto


def _torchscript(
    module: Any, inputs: Sequence[Any], batched: Sequence[bool], names: list[str], outputs: list[str], opset: int
) -> onnx.ModelProto:
    torch = _import_torch()
    file = io.BytesIO()
    open_inputs = {name: {0: "batch"} for name, b in zip(names, batched) if b}
    torch.onnx.export(
        module,
        tuple(inputs),
        file,
        dynamo=False,
        opset_version=opset,
        input_names=names,
        output_names=outputs,
        dynamic_axes=open_inputs | ({name: {0: "batch"} for name in outputs} if open_inputs else {}),
    )
    return onnx.load_model_from_string(file.getvalue())


def _is_open(proto: onnx.ModelProto, name: str) -> bool:
    dims = next(v.type.tensor_type.shape.dim for v in proto.graph.input if v.name == name)
    return not dims[0].HasField("dim_value")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

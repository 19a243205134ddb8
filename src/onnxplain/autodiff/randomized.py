"""Model randomisation: copies of a model with random weights, layer by layer from the score down.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity Checks for Saliency Maps", section 4: a map that explains
a model must change when what the model has learned is destroyed. Cascading destroys all layers from the top (the score)
down to one, independent randomisation that layer alone.

A weight is destroyed by a random permutation of its elements. That keeps every statistic of it (scale, signs, variances
above zero, the codes of quantised weights), so that activations stay in their range, and loses what was learned: where
each number belongs. A layer is a node with weights on the way to the score, a weight a constant of more than one value
in floats or quantised numbers, also behind DequantizeLinear and the like. Of a weight that several layers share the
uppermost is the owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from ..errors import InputError, ModelError
from ..layout import find_layout
from .graph.emitter import Emitter
from .graph.io import ModelSource, read_model, write_model
from .prepare.order import prepare
from .reverse.quantized import is_whole
from .reverse.reach import is_float, needed_for, reads
from .targets.explained import explained

#: Operators whose constants are sizes.
_SIZED = {"Resize", "Upsample"}
#: Operators that read integers of 32 bits as quantised biases; elsewhere they are indices.
_BIASED = {"DequantizeLinear", "QLinearConv", "QGemm"}


def randomized_models(
    model: ModelSource,
    *,
    seed: int = 0,
    cascading: bool = True,
    stages: int | None = None,
    tensor: str | None = None,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Copies of ``model`` with random weights, from the score down.

    Args:
        model: path, bytes, ``onnx.ModelProto`` or ``onnx_ir.Model``; never modified.
        seed: of the permutations; a weight is permuted alike whether cascading or not.
        cascading: everything from the score down to the layer is random; False: the layer alone.
        stages: how many copies, evenly spread from the uppermost layer (of one copy, the lowest) to the lowest one;
            None: one for each layer.
        tensor: what is explained, as in :func:`onnxplain.differentiate`.

    Returns:
        An iterator over (name of the layer, model), made one at a time.

    Raises:
        ModelError: the model cannot be read, or no layer has weights.
        InputError: no such output.
    """
    graph_model = read_model(model)
    emit = Emitter(graph_model.graph, prepare(graph_model))
    layers = _layers(emit, graph_model, tensor)
    if not layers:
        raise ModelError("the model has no weights on the way to its score, so nothing can be randomised.")
    if stages is not None and (isinstance(stages, bool) or not isinstance(stages, (int, np.integer)) or stages < 1):
        raise InputError(f"stages is a positive whole number; found {stages!r}.")
    count = len(layers) if stages is None else min(int(stages), len(layers))
    shown = set(np.rint(np.linspace(len(layers), 1, count)).astype(int).tolist())
    return _copies(graph_model, layers, np.random.default_rng(seed), cascading, shown)


@dataclass(frozen=True)
class _Layer:
    name: str
    weights: list[ir.Value]


def _copies(
    model: ir.Model, layers: list[_Layer], generator: np.random.Generator, cascading: bool, shown: set[int]
) -> Iterator[tuple[str, onnx.ModelProto]]:
    for number, layer in enumerate(layers, 1):
        learned = [weight.const_value for weight in layer.weights]
        for weight in layer.weights:
            weight.const_value = _permuted(weight, generator)
        if number in shown:
            yield layer.name, write_model(model)
        if not cascading:
            for weight, value in zip(layer.weights, learned):
                weight.const_value = value


def _layers(emit: Emitter, model: ir.Model, tensor: str | None) -> list[_Layer]:
    """The layers from the score down, each with the weights that no layer above it has."""
    layout = find_layout(None, model.metadata_props)
    score = explained(emit, model, tensor=tensor, layout=layout, score="logit", class_axis=None).value
    nodes = list(model.graph)
    needed = needed_for(nodes, score)
    constant = {value for value in model.graph.initializers.values() if not value.is_graph_input()}
    varying = []
    for node in nodes:
        if node.inputs and all(value in constant for value in reads(node)):
            constant.update(node.outputs)
        else:
            varying.append(node)
    found, taken = [], set[ir.Value]()
    for node in reversed(varying):
        if any(value in needed for value in node.outputs) and node.op_type not in _SIZED:
            weights = [w for v in reads(node) if v in constant for w in _weights(v, node) if w not in taken]
            weights = list(dict.fromkeys(weights))
            taken.update(weights)
            if weights:
                found.append(_Layer(node.name or "", weights))
    return found


def _weights(value: ir.Value, reader: ir.Node) -> list[ir.Value]:
    """The weights that a constant is or is computed from."""
    producer = value.producer()
    if producer is not None:
        return [weight for one in reads(producer) for weight in _weights(one, producer)]
    known = is_whole(value) if value.dtype != ir.DataType.INT32 else reader.op_type in _BIASED
    return [value] if (is_float(value) or known) and _varies(value) else []


def _varies(value: ir.Value) -> bool:
    """Whether a constant has several values, all finite (masks of attention are not)."""
    array = _array(value)
    return array.size > 1 and bool((array != array[0]).any()) and bool(np.isfinite(array.astype(np.float64)).all())


def _permuted(weight: ir.Value, generator: np.random.Generator) -> ir.TensorProtocol:
    assert weight.const_value is not None
    learned = drawn = _array(weight)
    while (drawn == learned).all():
        drawn = learned[generator.permutation(learned.size)]
    shape = weight.const_value.shape.numpy()
    return ir.Tensor(drawn.reshape(shape), dtype=weight.const_value.dtype, name=weight.name)


def _array(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    flat: np.ndarray = value.const_value.numpy().reshape(-1)
    return flat

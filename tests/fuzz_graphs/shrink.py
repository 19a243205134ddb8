"""A failing model made smaller, as long as it fails in the same way.

Steps, each kept if the failure stays: an inner tensor becomes the one that is asked about, or an input; a node is
passed over; outputs, stated shapes, attributes and runs are dropped; extents become smaller and weights rounder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .builder import attribute_graphs
from .check import Checked, Outcome, check, facts
from .reference import session, with_outputs

Judge = Callable[[onnx.ModelProto], bool]


def shrink(
    model: onnx.ModelProto, outcome: Outcome, rules: Mapping[str, Any] | None = None, limit: int = 600
) -> onnx.ModelProto:
    """The smallest model found, in at most ``limit`` checks, whose check fails where ``outcome`` says."""
    left = limit

    def fails(candidate: onnx.ModelProto) -> bool:
        nonlocal left
        left -= 1
        try:
            found = check(candidate, rules)
        except Exception:  # a step that made nonsense
            return False
        return found.kind == "failed" and found.where == outcome.where

    smaller = True
    while smaller and left > 0:
        smaller = False
        for step in _STEPS:
            for candidate in step(model):
                if left <= 0:
                    break
                if candidate is not None and fails(candidate):
                    model, smaller = candidate, True
                    break
    return model


def _copy(model: onnx.ModelProto, **changed: str) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    said = {k: v for k, v in (facts(model) | changed).items() if v or k == "extents"}
    del copy.metadata_props[:]
    helper.set_model_props(copy, {f"fuzz.{k}": v for k, v in said.items()})
    return copy


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node and its subgraphs read."""
    return set(node.input) | {name for graph in attribute_graphs(node) for n in graph.node for name in _reads(n)}


def _prune(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what no output needs; the question's output and scores stay."""
    graph = model.graph
    needed = {v.name for v in graph.output} | {facts(model)["logits"], facts(model)["output"]}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= _reads(node)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
    made = {name for n in nodes for name in n.output}
    for field in (graph.initializer, graph.input):
        chosen = [type(v).FromString(v.SerializeToString()) for v in field if v.name in needed]
        del field[:]
        field.extend(chosen)
    stated = [v for v in graph.value_info if v.name in made]
    stated = [type(v).FromString(v.SerializeToString()) for v in stated]
    del graph.value_info[:]
    graph.value_info.extend(stated)
    return model


def _shapes(model: onnx.ModelProto) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of all float tensors of the graph, one for each run."""
    checked = Checked(model)
    names = [n for node in model.graph.node for n in node.output if n]
    runner = session(with_outputs(model, *names), optimise=False)
    found: dict[str, list[tuple[int, ...]]] = {}
    for world in checked.worlds:
        feeds = checked.draw(world, 0)
        for name, array in {**feeds, **dict(zip(names, runner.run(names, feeds)))}.items():
            if isinstance(array, np.ndarray) and array.dtype == np.float32:
                found.setdefault(name, []).append(array.shape)
    return found


def _behind_the_head(model: onnx.ModelProto) -> set[str]:
    """What is computed from the head that the question is about: scores and answer change together or not at all."""
    said = facts(model)
    if said["question"] == "cotangent":
        return set()
    names = {said["head"]}
    for node in model.graph.node:
        if names & _reads(node):
            names.update(node.output)
    return names - {said["head"]}


def _ask_earlier(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Another, earlier tensor as the only output, the earliest first."""
    shapes = _shapes(model)
    for node in model.graph.node:
        for name in node.output:
            if name in shapes and name != facts(model)["logits"]:
                copy = _copy(model, question="cotangent", logits=name, output=name)
                del copy.graph.output[:]
                rank = len(shapes[name][0])
                copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank))
                if len(_prune(copy).graph.node) < len(model.graph.node):
                    yield copy


def _cut(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """An inner tensor as an input in the place of what computes it, the latest first."""
    shapes = _shapes(model)
    said, tail = facts(model), _behind_the_head(model)
    for node in reversed(model.graph.node):
        for name in node.output:
            if name not in shapes or name in (said["logits"], said["output"]) or name in tail:
                continue
            dims: list[int | str] = []
            extents = dict(pair.split("=") for pair in said["extents"].split())
            for axis, many in enumerate(zip(*shapes[name])):
                text = ",".join(map(str, many))
                if len(set(many)) == 1:
                    dims.append(many[0])
                    continue
                known = [k for k, v in extents.items() if v == text]
                dims.append(known[0] if known else f"S{len(extents)}_{axis}")
                extents[str(dims[-1])] = text
            copy = _copy(model, extents=" ".join(f"{k}={v}" for k, v in extents.items()))
            graph = copy.graph
            for other in graph.node:
                for i, output in enumerate(other.output):
                    if output == name:
                        other.output[i] = f"{name}_unused"
            kept = [v for v in graph.output if v.name != name]
            del graph.output[:]
            graph.output.extend(kept)
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
            if len(_prune(copy).graph.node) < len(model.graph.node):
                yield copy


def _pass_over(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """A node left out, one of its inputs of the same shape read instead."""
    shapes, tail = _shapes(model), _behind_the_head(model)
    for node in model.graph.node:
        name = node.output[0]
        for source in node.input if name not in tail else ():
            if name in shapes and shapes.get(source) == shapes[name]:
                copy = _copy(model)
                _rename(copy.graph, name, source)
                said = facts(model)
                changed = {k: source for k in ("logits", "output", "head") if said.get(k) == name}
                if changed.keys() - {"head"} and source in {v.name for v in model.graph.input}:
                    continue
                yield _prune(_copy(copy, **changed))


def _rename(graph: onnx.GraphProto, name: str, source: str) -> None:
    for node in graph.node:
        for i, read in enumerate(node.input):
            if read == name:
                node.input[i] = source
        for i, made in enumerate(node.output):
            if made == name:
                node.output[i] = f"{name}_unused"
        for inner in attribute_graphs(node):
            _rename(inner, name, source)
    for value in graph.output:
        if value.name == name:
            value.name = source


def _drop_parts(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Without one output, one stated shape, one attribute, one node's name, one initialiser's place in the inputs."""
    said = facts(model)
    for i, value in enumerate(model.graph.output):
        if value.name != said["output"] and len(model.graph.output) > 1:
            copy = _copy(model)
            del copy.graph.output[i]
            yield _prune(copy)
    for i in range(len(model.graph.value_info)):
        copy = _copy(model)
        del copy.graph.value_info[i]
        yield copy
    for i, node in enumerate(model.graph.node):
        if node.name:
            copy = _copy(model)
            copy.graph.node[i].ClearField("name")
            yield copy
        for j, attribute in enumerate(node.attribute):
            if attribute.type != onnx.AttributeProto.GRAPH and node.op_type != "Constant":
                copy = _copy(model)
                del copy.graph.node[i].attribute[j]
                yield copy
        if len(node.input) > 2 and node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            copy = _copy(model)
            del copy.graph.node[i].input[2:]
            yield _prune(copy)
    weights = {t.name for t in model.graph.initializer}
    for i, value in enumerate(model.graph.input):
        if value.name in weights and model.ir_version >= 4:
            copy = _copy(model)
            del copy.graph.input[i]
            yield copy


def _simpler_question(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    said = facts(model)
    if said["question"] != "cotangent":
        yield _copy(model, question="cotangent", logits=said["output"])
    if "versus" in said:
        yield _copy(model, versus="")


def _resized(model: onnx.ModelProto, pairs: Mapping[str, str]) -> onnx.ModelProto:
    """A copy of other extents, which states nothing of the tensors that have others now."""
    copy = _copy(model, extents=" ".join(f"{k}={v}" for k, v in pairs.items()))
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return copy


def _fewer_runs(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    pairs = [p.split("=") for p in facts(model)["extents"].split()]
    if any("," in many for _, many in pairs):
        for which in (-1, 0):
            yield _resized(model, {k: v.split(",")[which] for k, v in pairs})
    for name, many in pairs:
        if "," not in many and name:
            copy = _resized(model, {k: v for k, v in pairs if k != name})
            for value in copy.graph.input:
                for dim in value.type.tensor_type.shape.dim:
                    if dim.dim_param == name:
                        dim.dim_value = int(many)
            yield copy


def _lower_extents(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """One extent of one name, or of one input, smaller by one."""
    pairs = dict(p.split("=") for p in facts(model)["extents"].split())
    for name, many in pairs.items():
        for i, extent in enumerate(many.split(",")):
            if int(extent) > 1:
                lower = many.split(",")
                lower[i] = str(int(extent) - 1)
                yield _resized(model, pairs | {name: ",".join(lower)})
    weights = {t.name for t in model.graph.initializer}
    for i, value in enumerate(model.graph.input):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if value.name not in weights and dim.dim_value > 1:
                copy = _resized(model, pairs)
                copy.graph.input[i].type.tensor_type.shape.dim[axis].dim_value -= 1
                yield copy


def _rounder(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Weights as multiples of a quarter, so that the text of the model stays short."""
    for i, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            rounded = (np.round(array * 4) / 4).astype(np.float32)
            if not np.array_equal(rounded, array):
                copy = _copy(model)
                copy.graph.initializer[i].CopyFrom(numpy_helper.from_array(rounded, tensor.name))
                yield copy


_STEPS = (_ask_earlier, _cut, _pass_over, _drop_parts, _simpler_question, _fewer_runs, _lower_extents, _rounder)

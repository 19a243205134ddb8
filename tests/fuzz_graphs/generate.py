"""A random graph from a seed: a model with everything that a check needs to know in its metadata."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnxplain.autodiff.graph.schemas import NEWEST_OPSET

from .arithmetic import ARITHMETIC
from .builder import WORLDS, Builder, Dim, Shape, Value, fixed, same
from .control_flow import CONTROL_FLOW
from .ends import End, end
from .images import IMAGES
from .patterns import PATTERNS
from .tensors import TENSORS

Maker = Callable[[Builder, Value], Value | None]
OLDEST_OPSET = 7
_LARGEST = 3000  # elements
#: The oldest IR version whose models may use an opset, by opset.
_IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def generate(seed: int, newest: int = NEWEST_OPSET) -> onnx.ModelProto:
    """The model of a seed. Its metadata: the extents of named dimensions, the question, the output it is about.
    Some models state numbers of an inner shape that hold in one run only.
    """
    pick = random.Random(seed)
    old = pick.random() < 0.4
    opset = pick.randint(OLDEST_OPSET, min(12, newest)) if old else pick.randint(min(13, newest), newest)
    constants = pick.choice(["initializers", "nodes", "mixed"])
    b = Builder(opset, pick, np.random.default_rng(seed), constants)
    inputs = _inputs(b)
    family = pick.choice([_IMAGE, _SEQUENCE, _TABLE]) if len(inputs) > 1 else _FAMILIES[inputs[0].rank]
    value = inputs[0]
    for other in inputs[1:]:
        if same(other.shape, value.shape) and b.chance(0.7):
            value = b.op(pick.choice(["Add", "Mul", "Sub"]), [value, other], value.shape)
    for _ in range(pick.choice([1, 2, 2, 3, 3, 4, 5, 6, 8])):
        value = _step(b, value, _FAMILIES.get(value.rank, family))
    return _model(b, inputs, end(b, value), seed)


def _inputs(b: Builder) -> list[Value]:
    """One to three float inputs of one family; the first one's axis 0 is the batch."""
    batch = Dim((1, 3), "N") if b.chance(0.7) else fixed(b.random.choice([1, 2, 3]))
    rank = b.random.choice([4, 4, 4, 3, 3, 2, 2, 5])
    channels = fixed(b.random.choice([1, 2, 3, 4, 6]))
    if rank == 3 and b.chance(0.7):
        length = Dim((5, 7), "T") if b.chance(0.5) else fixed(b.random.randint(2, 6))
        shape: Shape = (batch, length, channels)
    elif rank == 2:
        shape = (batch, channels)
    else:
        symbolic = b.chance(0.5)
        names = [("H", (6, 9)), ("W", (7, 5)), ("D", (4, 5))][: rank - 2]
        least, most = (3, 4) if rank == 5 else (4, 9)
        dims = [Dim(e, n) if symbolic and b.chance(0.8) else fixed(b.random.randint(least, most)) for n, e in names]
        shape = (batch, channels, *dims)
    inputs = [b.add("x", shape)]
    if b.chance(0.25):
        inputs.append(b.add("second", shape if b.chance(0.7) or rank < 3 else (batch, channels)))
    return inputs


_BASE = {**ARITHMETIC, **TENSORS, **PATTERNS, **CONTROL_FLOW}


def _weighted(extra: Mapping[Maker, int], factor: int) -> tuple[list[Maker], list[int]]:
    table = dict(_BASE)
    table.update({maker: weight * factor for maker, weight in extra.items()})
    return list(table), list(table.values())


_IMAGE = _weighted(IMAGES, 3)
_SEQUENCE = _weighted(IMAGES, 1)
_TABLE = _weighted({}, 1)
_FAMILIES = {4: _IMAGE, 5: _IMAGE, 3: _SEQUENCE, 2: _TABLE, 1: _TABLE, 0: _TABLE}


def _step(b: Builder, value: Value, family: tuple[list[Maker], list[int]]) -> Value:
    """One more operator, mostly on the newest value, that fits and does not grow too large."""
    for _ in range(12):
        x = value if b.chance(0.85) else b.random.choice(b.pool)
        maker = b.random.choices(*family)[0]
        nodes, initializers, pool = len(b.nodes), len(b.initializers), len(b.pool)
        made = maker(b, x)
        if made is not None and made.rank <= 5 and _size(made) < _LARGEST:
            return made
        del b.nodes[nodes:], b.initializers[initializers:], b.pool[pool:]
    return value


def _size(value: Value) -> int:
    """The most elements that a value has in any world."""
    return max(int(np.prod([d.extents[w] for d in value.shape])) for w in range(WORLDS))


def _model(b: Builder, inputs: list[Value], found: End, seed: int) -> onnx.ModelProto:
    answer = found.answer
    outputs = [answer]
    unused = [v for v in b.pool if v.name not in b.used and v not in inputs and v != answer]
    others = [v for v in b.pool if v not in inputs and v != answer]
    outputs += [v for v in unused if b.chance(0.3)]
    if others and b.chance(0.3):
        outputs.append(b.random.choice(others))
    outputs = list(dict.fromkeys(outputs))
    if b.chance(0.15):
        outputs.reverse()
    ir_version = _IR_VERSIONS.get(b.opset, 10 if b.opset < 24 else 11)
    stated = [v for v in others if v not in outputs and b.chance(0.3)] if b.chance(0.4) else []
    unnamed, stale = b.chance(0.1), b.chance(0.25)
    if unnamed and found.batch not in (0, None):
        found = replace(found, stated=True)
    listed = b.initializers if ir_version < 4 or b.chance(0.15) else []
    graph = helper.make_graph(
        b.nodes,
        "fuzz",
        [
            *(_info(v, unnamed) for v in inputs),
            *(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in listed),
        ],
        [_info(v, b.chance(0.3)) for v in outputs],
        b.initializers,
        value_info=[_stale(v) if stale and b.chance(0.5) else _info(v, unnamed) for v in stated],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", b.opset)], ir_version=ir_version)
    dims = [(v.name, axis, d) for v in inputs for axis, d in enumerate(v.shape) if d.name]
    names = {f"{v}.{axis}" if unnamed else d.name: d.extents for v, axis, d in dims}
    facts = {"seed": str(seed), **found.facts}
    facts["extents"] = " ".join(f"{n}={','.join(map(str, e))}" for n, e in names.items())
    helper.set_model_props(model, {f"fuzz.{k}": v for k, v in facts.items()})
    return model


def _info(value: Value, unnamed: bool = False) -> onnx.ValueInfoProto:
    """The value's type and shape, perhaps without the names of its dimensions."""
    dims = [d.number if d.static else None if d.name == "?" or unnamed else d.name for d in value.shape]
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, dims)


def _stale(value: Value) -> onnx.ValueInfoProto:
    """The value's type and shape, as an exporter leaves them that saw the first run only."""
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [d.extents[0] for d in value.shape])

"""Chains: the compiled ones against NumPy, and what becomes one in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxplain import Explainer, ProviderError, native
from onnxplain.runtime import CPU, Session
from onnxplain.runtime.operators import library, reference
from onnxplain.runtime.operators.chain_program import STEPS
from onnxplain.runtime.operators.lanes import lanes
from onnxplain.runtime.operators.rewrite import rewrite

from support import small_models as small

Array = npt.NDArray[np.float32]

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SETS = native.available_instruction_sets()
#: Steps that give the bits of NumPy.
EXACT = [number for number, kind in enumerate(STEPS) if kind not in ("exp", "sum")]


def run(kind: str, inputs: Sequence[Array], attributes: dict[str, Any], isa: str, threads: int = 2) -> Array:
    """What a session returns that has one node of this kind."""
    names = [f"x{index}" for index in range(len(inputs))]
    node = helper.make_node(kind, names, ["y"], domain=library.DOMAIN, **attributes)
    types = [(name, FLOAT, [None] * array.ndim) for name, array in zip(names, inputs)]
    model = small.build([node], types, [("y", FLOAT, None)], domains={library.DOMAIN: 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_ISA", isa)
        session = Session(model, providers=CPU, threads=threads, optimised=True)
        (found,) = session.run(dict(zip(names, inputs)), ["y"])
    return found


def blocked(array: Array, width: int) -> Array:
    """The same numbers as they lie in memory in the blocked layout, under the shape [N,C,H,W]."""
    n, c, h, w = array.shape
    return np.ascontiguousarray(array.reshape(n, c // width, width, h * w).swapaxes(2, 3)).reshape(array.shape)


def plain(array: Array, width: int) -> Array:
    """The inverse of :func:`blocked`."""
    n, c, h, w = array.shape
    return np.ascontiguousarray(array.reshape(n, c // width, h * w, width).swapaxes(2, 3)).reshape(array.shape)


def within(found: Array, expected: Array, units: int) -> None:
    """Compare floats by the number of floats between them; 0 units is bit for bit, but for the bits of NaN."""
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    if not units:
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(expected)]))
        return
    ordered = [np.where((bits := one.view(np.int32)) < 0, np.int32(-(2**31)) - bits, bits) for one in (found, expected)]
    apart = np.abs(ordered[0].astype(np.int64) - ordered[1].astype(np.int64))
    assert apart[~np.isnan(expected)].max(initial=0) <= units


def shapes(frame: tuple[int, ...], axis: int, choice: str) -> tuple[int, ...]:
    """The shape of an input: of the whole frame, of one row, of one number for each row, or of one number."""
    rows, columns = frame[:axis], frame[axis:]
    return {
        "full": frame, "row": columns, "last rows": (*rows[-1:], *columns), "numbers": (*rows, *[1] * len(columns)),
        "channels": (*[1] * (axis - 1), *rows[-1:], *[1] * len(columns)), "one": (),
    }[choice]  # fmt: skip


@given(
    name=st.sampled_from(SETS),
    frame=st.sampled_from([(1,), (7,), (3, 1), (2, 3, 37), (2, 5, 7, 9), (3, 700), (2, 0, 4), (1, 2, 40, 41)]),
    split=st.integers(0, 3),
    choices=st.lists(st.sampled_from(["full", "row", "last rows", "numbers", "channels", "one"]), max_size=3),
    length=st.integers(1, 12),
    threads=st.integers(1, 2),
    reduced=st.booleans(),
    sums=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example("portable", (1, 2, 40, 41), 0, [], 9, 1, True, False, 61768)  # a ramp of what is no number
@settings(max_examples=150, deadline=None)
def test_programs(
    name: str, frame: tuple[int, ...], split: int, choices: list[str], length: int, threads: int, reduced: bool,
    sums: bool, seed: int,
) -> None:  # fmt: skip
    """Any steps, over any rows and columns, with inputs that repeat."""
    rng, axis = np.random.default_rng(seed), min(split, len(frame))
    inputs = [rng.standard_normal(shapes(frame, axis, one)).astype(np.float32) for one in ["full", *choices]]
    constants, program = [1.5, -0.25], []
    kinds = [*EXACT, STEPS.index("sum")] if sums and not reduced else EXACT
    for made in range(length):
        values = rng.integers(0, len(inputs) + len(constants) + made, 3)
        kind = int(rng.choice(kinds))
        values[1:] = len(inputs) + rng.integers(0, 2, 2) if STEPS[kind] == "ramp" else values[1:]
        program += [kind, *values.tolist()]
    attributes = {"program": program, "constants": constants, "count": [len(inputs)], "axis": [axis]}
    found = run("ChainSum" if reduced else "Chain", inputs, {**attributes, "lanes": [1]}, name, threads)
    expected = reference.chain(*inputs, **attributes, reduced=reduced)
    if reduced or STEPS.index("sum") in program[::4]:
        np.testing.assert_allclose(
            found, expected, rtol=1e-4, atol=1e-3 * np.abs(expected[np.isfinite(expected)]).max(initial=1)
        )
    else:
        within(found, expected, 0)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("reduced", [False, True], ids=["Chain", "ChainSum"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 41)])
def test_blocks(name: str, width: int, reduced: bool, size: tuple[int, int]) -> None:
    """x s + g, with one s of each channel and sample, and one g of each channel."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2 * width, *size)).astype(np.float32)
    s = rng.standard_normal((2, 2 * width, 1, 1)).astype(np.float32)
    g, one = rng.standard_normal((1, 2 * width, 1, 1)).astype(np.float32), np.full(1, 3, np.float32)
    program = [STEPS.index("mul"), 0, 1, 0, STEPS.index("add"), 5, 2, 0, STEPS.index("add"), 6, 3, 0]
    attributes = {"program": program, "constants": [0.0], "count": [4], "axis": [2]}
    expected = reference.chain(x, s, g, one, **attributes, reduced=reduced)
    kind = "ChainSum" if reduced else "Chain"
    found = run(kind, [blocked(x, width), s, g, one], {**attributes, "lanes": [width]}, name)
    within(found if reduced else plain(found, width), expected, 2 if reduced else 0)


@pytest.mark.parametrize("name", SETS)
def test_exp_is_within_two_units(name: str) -> None:
    """From where results are zero to where they are infinite; below 2^-125 they are zero."""
    x = np.concatenate([np.linspace(-86.5, 88.7, 200_001), [89, 1e30, np.inf, np.nan, 0, -0.0]]).astype(np.float32)
    attributes = {"program": [STEPS.index("exp"), 0, 0, 0], "constants": [0.0], "count": [1], "axis": [0]}
    within(run("Chain", [x], {**attributes, "lanes": [1]}, name), reference.chain(x, **attributes), 2)
    low = np.array([-86.7, -90, -1e30, -np.inf], np.float32)
    assert not run("Chain", [low], {**attributes, "lanes": [1]}, name).any()


@pytest.mark.parametrize("name", SETS)
def test_a_sum_of_a_row_is_that_of_float64(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((37, 1001)).astype(np.float32) * 1e3
    attributes = {"program": [STEPS.index("sum"), 0, 0, 0], "constants": [0.0], "count": [1], "axis": [1]}
    within(run("Chain", [x], {**attributes, "lanes": [1]}, name), reference.chain(x, **attributes), 1)


_SOUND: dict[str, Any] = {"program": [0, 0, 0, 0], "constants": [0.0], "count": [1], "axis": [0], "lanes": [1]}
WRONG: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "1, 8 or 16 lanes": ([(2,)], {"lanes": [4]}),
    "four integers": ([(2,)], {"program": [0, 0]}),
    "no such meaning": ([(2,)], {"program": [len(STEPS), 0, 0, 0]}),
    "or no such value": ([(2,)], {"program": [0, 0, 2, 0]}),
    "axis is beyond": ([(2,)], {"axis": [2]}),
    "do not fit each other": ([(2,), (3,)], {"count": [2]}),
    "as many channels": ([(1, 4, 2, 2)], {"lanes": [8], "axis": [2]}),
    "in plain layout alone": ([(1, 8, 2, 2)], {"lanes": [8], "axis": [2], "program": [STEPS.index("sum"), 0, 0, 0]}),
    "too long": ([(1, 9000)], {"axis": [1], "program": [STEPS.index("sum"), 0, 0, 0]}),
    "ones elsewhere": ([(2, 3, 4), (2, 1, 4)], {"count": [2], "axis": [1]}),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_an_error(message: str) -> None:
    given_, attributes = WRONG[message]
    with pytest.raises(ProviderError, match=message):
        run("Chain", [np.zeros(shape, np.float32) for shape in given_], {**_SOUND, **attributes}, "")


def written(
    nodes: Sequence[tuple[str, str, str]], kind: int = FLOAT, outputs: Sequence[str] = ("z",), **extents: Sequence[Any]
) -> onnx.ModelProto:
    """A model of nodes "operator", "inputs" and "output"; its inputs are a and b [N,4,5], and those of ``extents``."""
    found = [helper.make_node(op, inputs.split(), [output]) for op, inputs, output in nodes]
    for node in found:
        if node.op_type == "ReduceMean":
            node.input.append("last")
    stated = {"a": ["N", 4, 5], "b": ["N", 4, 5], **extents}
    inputs = [(name, kind, shape) for name, shape in stated.items()]
    constants = {"one": np.float32(1), "row": np.arange(5, dtype=np.float32), "last": np.array([-1])}
    model = small.build(found, inputs, [(name, kind, ["N", 4, 5]) for name in outputs], constants)
    return onnx.shape_inference.infer_shapes(model)


NORMALISED = [
    ("Mul", "a b", "p"), ("ReduceMean", "p", "m"), ("Mul", "b m", "q"), ("Sub", "a q", "r"), ("Mul", "r s", "z"),
]  # fmt: skip
SIGMOID = [("Sub", "one a", "p"), ("Mul", "b p", "q"), ("Add", "q a", "r"), ("Mul", "r b", "z")]
USED_TWICE = [("Mul", "a b", "p"), ("Exp", "p", "q"), ("Mul", "q a", "z"), ("Identity", "q", "w")]
CHEAP = [("Add", "a row", "p"), ("Mul", "p b", "z"), ("Identity", "p", "w")]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (written(NORMALISED, s=["N", 4, 1]), {"Chain": 1}),
        (written(SIGMOID), {"Chain": 1}),
        (written([("Add", "a row", "p"), ("Exp", "p", "z")]), {"Chain": 1}),
        (written(USED_TWICE, outputs=("z", "w")), {"Chain": 1, "Mul": 1, "Identity": 1}),
        (written(CHEAP, outputs=("z", "w")), {"Add": 1, "Identity": 1, "Chain": 1}),
        (written([("Mul", "a a", "z")]), {"Mul": 1}),
        (written([("Mul", "a c", "p"), ("Add", "p b", "z")], c=["N", 1, 5]), {"Mul": 1, "Add": 1}),
        (written([("Mul", "a c", "p"), ("Add", "p b", "z")], c=["M", 4, 5]), {"Mul": 1, "Add": 1}),
    ],
    ids=["normalised", "sigmoid", "row", "used twice", "made again", "one node", "a middle axis", "another batch"],
)
def test_what_becomes_a_chain(model: onnx.ModelProto, expected: dict[str, int]) -> None:
    before, rng = onnx.ModelProto.FromString(model.SerializeToString()), np.random.default_rng(0)
    rewrite(model)
    kinds = [node.op_type for node in model.graph.node]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    dims = {v.name: [d.dim_value or 3 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in dims.items()}
    outputs = [value.name for value in model.graph.output]
    found, plain_ = (Session(one, providers=CPU, optimised=True).run(feeds, outputs) for one in (model, before))
    for ours, theirs in zip(found, plain_):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


def test_half_precision_is_left() -> None:
    model = written([("Mul", "a b", "p"), ("Add", "p b", "z")], HALF)
    assert rewrite(model).fused == {}


def gated(act: str, height: int | str = 12) -> onnx.ModelProto:
    """Convolutions with an activation, and squeeze-and-excitation: x [N,3,H,H] to y [N,5]."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {}
    nodes: list[onnx.NodeProto] = []

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def conv(source: str, inputs: int, outputs: int, kernel: int) -> str:
        name = f"w{len(nodes)}"
        constants[name] = rng.standard_normal((outputs, inputs, kernel, kernel)).astype(np.float32) / (kernel * 4)
        return add("Conv", source, name, pads=[kernel // 2] * 4)

    def activated(source: str) -> str:
        return add("HardSwish", source) if act == "HardSwish" else add("Mul", source, add("Sigmoid", source))

    x = activated(conv("x", 3, 32, 3))
    gate = add("Sigmoid", conv(activated(conv(add("GlobalAveragePool", x), 32, 16, 1)), 16, 32, 1))
    x = activated(conv(add("Mul", x, gate), 32, 32, 3))
    add("Flatten", add("GlobalAveragePool", conv(x, 32, 5, 1)))
    nodes[-1].output[0] = "y"
    given_ = [("x", FLOAT, ["N", 3, height, height])]
    return small.build(nodes, given_, [("y", FLOAT, ["N", 5])], constants)


@pytest.mark.parametrize("act", ["SiLU", "HardSwish"])
@pytest.mark.parametrize("height", [12, "H"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ["", "portable"])
def test_networks(act: str, height: int | str, threads: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores stay the same bit for bit, and gradients but for the order of sums."""
    monkeypatch.setenv("ONNXPLAIN_ISA", isa)
    x = np.random.default_rng(1).standard_normal((3, 3, 12, 12)).astype(np.float32)
    found = []
    for state in ("off", ""):
        monkeypatch.setenv("ONNXPLAIN_OPERATORS", state)
        explainer = Explainer(gated(act, height), providers=CPU, cache=False, threads=threads)
        found.append([explainer.scores(x), explainer.attribute(x, 2), explainer.attribute(x[:1], 4)])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for off, on in zip(found[0][1:], found[1][1:]):
        np.testing.assert_allclose(on, off, rtol=1e-5, atol=2e-6 * np.abs(off).max())


@pytest.mark.skipif(lanes() == 1, reason="ONNX Runtime has no blocked layout here")
def test_a_network_stays_in_blocks() -> None:
    """Reorders are left around the first layer and the scores."""
    report = Explainer(gated("SiLU"), providers=CPU, cache=False).operators
    assert report.fused.get("Chain", 0) >= 4 and report.fused["ChainSum"] == 1

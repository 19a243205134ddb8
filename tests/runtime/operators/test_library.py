"""The compiled operators against their twins in NumPy, on every instruction set, layout and number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxplain import ProviderError, native
from onnxplain.runtime import CPU, Session
from onnxplain.runtime.operators import library, reference
from onnxplain.runtime.operators.chain_program import STEPS

from support import small_models as small

Array = npt.NDArray[np.float32]

SETS = native.available_instruction_sets()
LANES = (1, 8, 16)
RELU = ([3.4028234663852886e38], [0.0])
CLIP = ([3.4028234663852886e38, -(2.0**100)], [0.0, 6 * 2.0**100])
HARD = ([1 / 6], [0.5])


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    return name


def run(kind: str, inputs: list[Array], attributes: Mapping[str, Any], threads: int = 2, times: int = 1) -> Array:
    """What a session returns that has one node of this kind."""
    names = [f"x{index}" for index in range(len(inputs))]
    node = helper.make_node(kind, names, ["y"], domain=library.DOMAIN, **attributes)
    model = small.build(
        [node],
        [(name, TensorProto.FLOAT, [None] * array.ndim) for name, array in zip(names, inputs)],
        [("y", TensorProto.FLOAT, [None] * inputs[0].ndim)],
        domains={library.DOMAIN: 1},
    )
    session = Session(model, providers=CPU, threads=threads, optimised=True)
    for _ in range(times):
        (found,) = session.run(dict(zip(names, inputs)), ["y"])
    return found


def blocked(array: Array, lanes: int) -> Array:
    """The same numbers as they lie in memory in the blocked layout, under the shape [N,C,H,W]."""
    n, c, h, w = array.shape
    return np.ascontiguousarray(array.reshape(n, c // lanes, lanes, h * w).transpose(0, 1, 3, 2)).reshape(array.shape)


def plain(array: Array, lanes: int) -> Array:
    """The inverse of :func:`blocked`."""
    n, c, h, w = array.shape
    return np.ascontiguousarray(array.reshape(n, c // lanes, h * w, lanes).transpose(0, 1, 3, 2)).reshape(array.shape)


def assert_bits(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(found.view(np.uint32), expected.astype(np.float32).view(np.uint32))


def awkward(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers at and around the bounds of the ramps, zeros of both signs, subnormals, and large ones."""
    special = np.array([0, -0.0, 6, np.nextafter(np.float32(6), 0), 1e-40, -1e-40, 1e38, -1e38, 3], np.float32)
    values = rng.standard_normal(shape).astype(np.float32) * 4
    return np.where(rng.random(shape) < 0.3, rng.choice(special, shape), values).astype(np.float32)


@pytest.mark.parametrize("ramps", [RELU, CLIP, HARD], ids=["relu", "clip", "hard"])
@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (33,), (2, 8, 5, 3), (3, 16, 64, 33)])
@pytest.mark.parametrize("inputs", [2, 3])
def test_gate(isa: str, ramps: tuple[list[float], list[float]], shape: tuple[int, ...], inputs: int) -> None:
    rng = np.random.default_rng(0)
    values, attributes = [awkward(rng, shape) for _ in range(inputs)], {"alpha": ramps[0], "beta": ramps[1]}
    assert_bits(run("Gate", values, attributes, times=2), reference.gate(*values, **attributes))


@pytest.mark.parametrize(("kind", "place"), [("Gate", 0), ("Gate", 1), ("Gate", 2), ("Chain", 0), ("Chain", 1)])
def test_the_result_may_lie_where_any_input_was(isa: str, kind: str, place: int) -> None:
    """ONNX Runtime gives the result the memory of an input that nothing needs any more: of the one behind a Neg."""
    rng, shape = np.random.default_rng(0), (2, 70, 41)
    values = [awkward(rng, shape) for _ in range(3 if kind == "Gate" else 2)]
    names = [f"x{index}" for index in range(len(values))]
    program = [STEPS.index("mul"), 0, 1, 0, STEPS.index("sub"), 3, 0, 0, STEPS.index("add"), 4, 1, 0]
    attributes: dict[str, Any] = {
        "Gate": {"alpha": CLIP[0], "beta": CLIP[1]},
        "Chain": {"program": program, "constants": [0.0], "count": [2], "axis": [3]},
    }[kind]
    lanes = {} if kind == "Gate" else {"lanes": [1]}
    read = [f"{name}n" if index == place else name for index, name in enumerate(names)]
    nodes = [
        helper.make_node("Neg", [names[place]], [read[place]]),
        helper.make_node(kind, read, ["y"], domain=library.DOMAIN, **attributes, **lanes),
        helper.make_node("Neg", ["y"], ["z"]),
    ]
    types = [(name, TensorProto.FLOAT, shape) for name in names]
    model = small.build(nodes, types, [("z", TensorProto.FLOAT, shape)], domains={library.DOMAIN: 1})
    session = Session(model, providers=CPU, threads=2, optimised=True)
    given_ = [-value if index == place else value for index, value in enumerate(values)]
    expected = getattr(reference, kind.lower())(*given_, **attributes)
    for _ in range(2):
        (found,) = session.run(dict(zip(names, values)), ["z"])
        assert_bits(found, -expected)


def test_an_infinite_gradient_at_a_mask_stays_no_number(isa: str) -> None:
    """As in the product that Gate stands for, so that the reduction to a map refuses it."""
    dy = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    found = run("Gate", [dy, np.array([-1, -1, -1, 1], np.float32)], {"alpha": RELU[0], "beta": RELU[1]})
    assert np.isnan(found[:3]).all() and found[3] == 1


@pytest.mark.parametrize("ramps", [RELU, CLIP])
@pytest.mark.parametrize("count", [1, 7, 8, 35])
def test_an_activation_that_is_no_number_stays_none(
    isa: str, count: int, ramps: tuple[list[float], list[float]]
) -> None:
    """As in HardSigmoid, for which Gate stands: no gradient is made of it that looks like one."""
    y = np.where(np.arange(count) % 2, 0.5, np.nan).astype(np.float32)
    ones = np.ones(count, np.float32)
    for dys in ([ones], [ones, ones]):
        found = run("Gate", [*dys, y], {"alpha": ramps[0], "beta": ramps[1]})
        np.testing.assert_array_equal(np.isnan(found), np.isnan(y))


@given(
    lanes=st.sampled_from(LANES),
    name=st.sampled_from(SETS),
    extent=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padded=st.booleans(),
    ceil=st.booleans(),
    ties=st.booleans(),
    odd=st.sampled_from([0, -np.inf, np.nan]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_pool_gradient(
    lanes: int,
    name: str,
    extent: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padded: bool,
    ceil: bool,
    ties: bool,
    odd: float,
    seed: int,
) -> None:
    """Overlapping and gapped windows, ties, padding, windows that reach over the end, infinities, no numbers."""
    rng = np.random.default_rng(seed)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    pads = [min(k // 2, 1) if padded else 0 for k in kernel]
    room = [e + 2 * p - s for e, p, s in zip(extent, pads, spans)]
    if min(room) < 0 or any(d > 1 and p for d, p in zip(dilation, pads)):
        return
    pooled = [-(-r // s) + 1 if ceil else r // s + 1 for r, s in zip(room, stride)]
    pooled = [p - 1 if (p - 1) * s >= e + pad else p for p, s, e, pad in zip(pooled, stride, extent, pads)]
    x = rng.integers(-2, 3, (2, lanes * 2, *extent)).astype(np.float32) if ties else None
    x = rng.standard_normal((2, lanes * 2, *extent)).astype(np.float32) if x is None else x
    x[rng.random(x.shape) < (0.5 if odd else 0)] = odd
    dy = rng.standard_normal((2, lanes * 2, *pooled)).astype(np.float32)
    windows = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "top_left": pads}
    for add in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            attributes = {**windows, "add": [int(add)], "lanes": [lanes]}
            found = run("PoolGradient", [blocked(x, lanes), blocked(dy, lanes)], attributes)
        assert_bits(plain(found, lanes), reference.pool_gradient(x, dy, add=add, **windows))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("stride", "phases", "size"),
    [
        ((2, 2), (0, 1, 2, 3), (10, 14)),
        ((2, 2), (0, 1, 2, 3), (9, 13)),
        ((2, 2), (0,), (11, 15)),
        ((2, 2), (0,), (9, 13)),
        ((2, 1), (1,), (10, 7)),
        ((3, 2), (5, 1, 2), (15, 14)),
        ((1, 1), (0,), (5, 7)),
    ],
)
def test_interleave(
    isa: str, lanes: int, stride: tuple[int, int], phases: tuple[int, ...], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    given_ = {number: rng.standard_normal((2, 2 * lanes, 5, 7)).astype(np.float32) for number in phases}
    attributes = {"phases": phases, "stride": stride, "size": size, "lanes": [lanes]}
    found = run("Interleave", [blocked(array, lanes) for array in given_.values()], attributes)
    assert_bits(plain(found, lanes), reference.interleave(given_, stride, size))


WRONG = {
    "as many of beta": ("Gate", [(2,), (2,)], {"alpha": [1.0], "beta": [0.0, 1.0]}),
    "inputs of one shape": ("Gate", [(2,), (3,)], {"alpha": [1.0], "beta": [0.0]}),
    "one or two gradients, and": ("Gate", [(2,)], {"alpha": [1.0], "beta": [0.0]}),
    "1, 8 or 16 lanes, and": ("PoolGradient", [(1, 4, 2, 2)] * 2, {"lanes": [4]}),
    "as many channels as blocks hold": ("PoolGradient", [(1, 4, 2, 2)] * 2, {"lanes": [8]}),
    "Interleave has no such phase": ("Interleave", [(1, 1, 2, 2)], {"phases": [4]}),
    "one input for each of its phases": ("Interleave", [(1, 1, 2, 2)] * 2, {"phases": [0]}),
    "positive strides": ("Interleave", [(1, 1, 2, 2)], {"phases": [0], "stride": [0, 1]}),
}
_SOUND: dict[str, dict[str, Any]] = {
    "Gate": {},
    "PoolGradient": {
        "kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "top_left": [0, 0], "add": [1], "lanes": [1],
    },
    "Interleave": {"stride": [2, 2], "size": [4, 4], "lanes": [1]},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_an_error(message: str) -> None:
    kind, shapes, attributes = WRONG[message]
    with pytest.raises(ProviderError, match=message):
        run(kind, [np.zeros(shape, np.float32) for shape in shapes], {**_SOUND[kind], **attributes})


def test_an_instruction_set_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_ISA", "none")
    with pytest.raises(ProviderError, match="no instruction set 'none' here"):
        run("Gate", [np.zeros(1, np.float32)] * 2, {"alpha": [1.0], "beta": [0.0]})


def test_the_library_was_built_and_loads() -> None:
    assert library.library() is not None


@pytest.mark.parametrize("value", ["off", "0", "no", "OFF"])
def test_the_environment_turns_the_operators_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    before = library.state()
    monkeypatch.setenv("ONNXPLAIN_OPERATORS", value)
    assert library.library() is None
    assert library.state() != before


def test_a_library_that_is_missing_or_damaged_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "damaged.so").write_bytes(b"\x7fELF and nothing else")
    assert library._loadable(tmp_path / "missing.so") is None
    assert library._loadable(tmp_path / "damaged.so") is None

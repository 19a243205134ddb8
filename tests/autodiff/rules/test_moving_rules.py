"""Rules that move elements or multiply matrices: what is cheap, what is refused, what single cases cannot show."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxplain import ModelError, UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.cases.attention import AT, COS, SIN
from support.cases.base import Case, Input, normal
from support.cases.indexing import i64
from support.checker import session

HEADER = '<ir_version: 8, opset_import: ["" : 18]>\n'


def parsed(body: str, inputs: str = "float[N,6] x", output: str = "float[a,b] y") -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{HEADER} g ({inputs}) => ({output}) {{ {body} }}")


def gradient(model: onnx.ModelProto, cotangent: np.ndarray, **feeds: np.ndarray) -> np.ndarray:
    result = session(differentiate(model, wrt="x", target="cotangent"))
    (found,) = result.run(["grad_x"], {"cotangent": cotangent, **feeds})
    return np.asarray(found)


def emitted(case: Case) -> list[str]:
    """The operators that the rule of ``case`` adds, with a symbolic batch."""
    model = differentiate(case.model(np.dtype(np.float32), None), wrt=case.wrt(), target="cotangent")
    return [node.op_type for node in model.graph.node if node.name.startswith("grad/")]


def gather(indices: np.ndarray, extent: int | str = 6) -> Case:
    return Case("Gather", (normal("N", extent, 4), indices), {"axis": 1})


IMAGE = normal("N", 4, 6, 6)
KEPT = normal(4, 5, wrt=False)

CHEAP = {
    "gather one": (gather(np.array(0)), {"Reshape", "Pad"}),
    "gather a run": (gather(i64(1, 2, 3)), {"Pad"}),
    "gather the last of symbolic": (gather(np.array(-1), "T6"), {"Reshape", "Pad", "Shape", "Sub", "Concat"}),
    "gather every other": (gather(i64(0, 2, 4)), {"Unsqueeze", "Concat", "Reshape", "Shape", "ConstantOfShape"}),
    "gather a permutation": (gather(i64(3, 1, 0, 2, 5, 4)), {"Gather"}),
    "gather some": (gather(i64(3, 1, 5)), {"Pad", "Gather"}),
    "gather twice": (gather(i64(0, 0, 1, 1, 2, 2), 3), {"Gather", "ReduceSum"}),
    "gather all backwards": (gather(i64(5, 4, 3, 2, 1, 0)), {"Slice"}),
    "slice": (Case("Slice", (IMAGE, i64(1, 0), i64(3, 5), i64(2, 3))), {"Pad"}),
    "slice flipped": (Case("Slice", (IMAGE, i64(-1), i64(-9), i64(1), i64(-1))), {"Slice"}),
    "slice of symbolic from 0": (
        Case("Slice", (normal("N", "T5"), i64(0), i64(2), i64(1))),
        {"Shape", "Sub", "Concat", "Pad"},
    ),
    "split": (Case("Split", (IMAGE, i64(1, 3)), {"axis": 1}, outputs=2), {"Shape", "Concat", "ConstantOfShape"}),
    "concat": (Case("Concat", (IMAGE, normal("N", 2, 6, 6)), {"axis": 1}), {"Split"}),
    "concat, one wanted": (Case("Concat", (IMAGE, normal("N", 2, 6, 6, wrt=False)), {"axis": 1}), {"Slice"}),
    "pad": (Case("Pad", (IMAGE, i64(0, 0, 1, 1, 0, 0, 1, 1))), {"Slice"}),
    "reshape": (Case("Reshape", (IMAGE, i64(0, -1))), {"Reshape"}),
    "gemm": (Case("Gemm", (normal("N", 4), KEPT, normal(5, wrt=False)), {"alpha": 2.0}), {"Gemm"}),
    "matmul": (Case("MatMul", (normal("N", "T3", 4), KEPT)), {"Transpose", "MatMul"}),
    "batched": (
        Case("MatMul", (normal("N", "T3", "S4"), normal("N", "S4", "T3", wrt=False))),
        {"Transpose", "MatMul"},
    ),
    "einsum": (
        Case("Einsum", (normal("N", "T3", 4), normal("N", "S5", 4)), {"equation": "bid,bjd->bij"}),
        {"Einsum"},
    ),
}


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_forms(name: str) -> None:
    case, allowed = CHEAP[name]
    assert set(emitted(case)) <= allowed


def test_nothing_is_computed_for_constant_masks_and_weights() -> None:
    attention = Case("Attention", (normal("N", 2, 3, 4), *(normal("N", 2, 3, 4, wrt=False),) * 2), opset=23)
    assert sorted(set(emitted(attention))) == ["MatMul", "Mul", "ReduceSum", "Softmax", "Sub", "Transpose"]


@pytest.mark.parametrize(("to", "exact"), [("DOUBLE", True), ("FLOAT16", False)])
def test_cast_through_another_float_type(to: str, exact: bool) -> None:
    types = f"w = Cast<to={int(ir.DataType[to])}>(x) v = Mul(w, w) y = Cast<to=1>(v)"
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6)
    c = np.linspace(1, 2, 12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_allclose(gradient(parsed(types), c, x=x), 2 * x * c, rtol=1e-6 if exact else 2e-3)


def test_cast_like_returns_to_the_type_it_came_from() -> None:
    model = parsed("w = CastLike(x, t) v = Mul(w, w) y = CastLike(v, x)", "float[N,6] x, double[1] t")
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_allclose(gradient(model, np.ones_like(x), x=x, t=np.zeros(1)), 2 * x, rtol=1e-6)


def test_no_gradient_passes_through_integers() -> None:
    """Floats that become integers have the float behind these as a stand-in, as ids have."""
    model = differentiate(parsed("i = Cast<to=7>(x) f = Cast<to=1>(i) y = Mul(f, f)"), wrt="x", target="cotangent")
    assert [v.name for v in model.graph.output] == ["y", "grad_f"]
    with pytest.raises(ModelError, match="no float path"):
        differentiate(
            parsed("i = Cast<to=7>(x) f = Cast<to=1>(i) y = Add(f, x)", "float[N,6] x, int64[N,6] k"), wrt="k"
        )


def test_gradient_of_an_operator_with_an_output_left_out() -> None:
    model = parsed("p, , y = Split<axis=1, num_outputs=3>(x) q = Identity(p)")
    c = np.array([[1.0, 2.0]], dtype=np.float32)
    found = gradient(model, c, x=np.zeros((1, 6), dtype=np.float32))
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 2]])


def test_unknown_rank() -> None:
    """Behind a reshape whose target's length is unknown, rules work that need no rank."""
    body = """r = Reshape(x, s) e = Constant<value_ints=[4]>() b = Constant<value_ints=[0]>() t = Slice(r, b, e, b)
    i = Identity(t) two = Constant<value_float=2.0>() m = Mul(i, two) f = Constant<value = int64[2] {1, -1}>()
    y = Reshape(m, f)"""
    model = parsed(body, "float[N,6] x, int64[k] s")
    x, c = np.zeros((2, 6), dtype=np.float32), np.arange(8, dtype=np.float32)[None]
    found = gradient(model, c, x=x, s=np.array([6, 2]))
    np.testing.assert_array_equal(found, np.append(2 * c[0], np.zeros(4)).reshape(2, 6))


def model_of(case: Case) -> onnx.ModelProto:
    return case.model(np.dtype(np.float32), None)


X = normal("N", 3)
TRAINING = parsed("y = Dropout(x, r, t)", "float[N,6] x, float r, bool t")
UNRANKED = "r = Reshape(x, s) i = Constant<value_ints=[0]>() g = Gather(r, i) y = Reshape(g, s)"
HEADS: tuple[Input, ...] = (normal("N", "P4", 3, 2), normal("N", "Q2", 3, 2), normal("N", "Q2", 3, 2))
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

REFUSED = {
    "dropout-training": (model_of(Case("Dropout", (X, np.array(0.5), np.array(True)))), "training_mode = True.*eval"),
    "dropout-run-time": (TRAINING, "training_mode = 'an input'"),
    "dropout-default-ratio": (model_of(Case("Dropout", (X, None, np.array(True)))), "training_mode = True"),
    "cast-float8": (parsed("q = Cast<to=17>(x) y = Cast<to=1>(q)").SerializeToString(), "Cast.*type = FLOAT8E4M3FN"),
    "gather-unranked": (parsed(UNRANKED, "float[N,6] x, int64[k] s"), "Gather.*rank of input 0.*'unknown'"),
    "attention-heads": (model_of(Case("Attention", HEADS, opset=23)), "number of heads = 'P4 and Q2'.*static head"),
    "einsum-letters": (
        model_of(Case("Einsum", (normal(*[1] * 53),), {"equation": f"...{LETTERS}->..."})),
        "equation.*letters do not suffice",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(UnsupportedOperatorError, match=message):
        differentiate(model, target="cotangent")


def test_rotating_back_is_one_operator() -> None:
    assert emitted(Case("RotaryEmbedding", (normal(1, 2, 3, 4), COS, SIN, AT), opset=23)) == ["Neg", "RotaryEmbedding"]

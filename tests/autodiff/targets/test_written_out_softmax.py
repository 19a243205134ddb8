"""Softmaxes written out in simpler operators are looked through like the operator; what only resembles one is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, parser

import onnxplain
from onnxplain.autodiff import differentiate

from producers.fixture import load
from support.gradient_passes import run

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
TARGET = np.array([2, 0, 4])

SOFTMAXES = {
    "quotient": "e = Exp(a) s = ReduceSum<keepdims=1>(e, one) y = Div(e, s)",
    "shifted": """m = ReduceMax<keepdims=1>(a, one) d = Sub(a, m) e = Exp(d)
                  s = ReduceSum<keepdims=1>(e, one) y = Div(e, s)""",
    "last axis": "m = ReduceMax<keepdims=1>(a, last) d = Sub(a, m) e = Exp(d) s = ReduceSum(e, last) y = Div(e, s)",
    "spread": """m = ReduceMax<keepdims=0>(a, one) m1 = Reshape(m, column) shape = Shape(a) m2 = Expand(m1, shape)
                 d = Sub(a, m2) e = Exp(d) s = ReduceSum<keepdims=0>(e, one) s1 = Unsqueeze(s, one)
                 s2 = Expand(s1, shape) y = Div(e, s2)""",
    "reciprocal": "e = Exp(a) s = ReduceSum<keepdims=1>(e, one) r = Reciprocal(s) y = Mul(r, e)",
    "log-sum-exp": "s = ReduceLogSumExp<keepdims=0>(a, one) c = Reshape(s, column) l = Sub(a, c) y = Exp(l)",
    "of the logarithm": "l = LogSoftmax<axis=1>(a) y = Exp(l)",
    "with a tail": "e = Exp(a) s = ReduceSum<keepdims=1>(e, one) p = Div(e, s) y = Identity(p)",
}
LOGARITHMS = {
    "log of the sum": """m = ReduceMax<keepdims=1>(a, one) d = Sub(a, m) e = Exp(d)
                         s = ReduceSum<keepdims=1>(e, one) l = Log(s) y = Sub(d, l)""",
    "log-sum-exp": "s = ReduceLogSumExp<keepdims=1>(a, one) y = Sub(a, s)",
    "squeezed": "e = Exp(a) s = ReduceSum<keepdims=0>(e, one) l = Log(s) c = Unsqueeze(l, one) y = Sub(a, c)",
}
OTHERS = {
    "sum over the batch": "e = Exp(a) s = ReduceSum<keepdims=1>(e, zero) y = Div(e, s)",
    "sum over both": "e = Exp(a) s = ReduceSum<keepdims=1>(e, both) y = Div(e, s)",
    "mean": "e = Exp(a) s = ReduceMean<keepdims=1>(e, one) y = Div(e, s)",
    "sum of others": "e = Exp(a) f = Exp(e) s = ReduceSum<keepdims=1>(f, one) y = Div(e, s)",
    "inverted": "e = Exp(a) s = ReduceSum<keepdims=1>(e, one) y = Div(s, e)",
    "no logarithm": "e = Exp(a) s = ReduceSum<keepdims=1>(e, one) y = Sub(a, s)",
    "turned": "b = MatMul(a, w2) s = ReduceLogSumExp<keepdims=0>(b, one) c = Reshape(s, row) y = Sub(b, c)",
}


def model(tail: str) -> onnx.ModelProto:
    """x [N,4] -> a [N,5] -> ``tail`` -> y."""
    rng = np.random.default_rng(1)
    weights = ", ".join(map(str, rng.standard_normal(20).astype(np.float32)))
    square = ", ".join(map(str, rng.standard_normal(15).astype(np.float32)))
    column = ", ".join(map(str, rng.standard_normal(5).astype(np.float32)))
    y = "float[M,K]"
    found = parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : 18]>
        softmax (float[N,4] x) => ({y} y)
        <float[4,5] w = {{{weights}}}, float[5,3] w2 = {{{square}}}, float[5,1] w1 = {{{column}}},
         float unity = {{1.0}}, int64[1] zero = {{0}}, int64[1] one = {{1}},
         int64[1] last = {{-1}}, int64[2] both = {{0, 1}}, int64[2] column = {{-1, 1}}, int64[2] row = {{1, -1}}>
        {{ a = MatMul(x, w) {tail} }}
    """)
    return found


def outputs(tail: str, **options: object) -> dict[str, np.ndarray]:
    found = differentiate(model(tail), **options)  # type: ignore[arg-type]
    return run(found, {"x": X, "target": TARGET}, "ORT_ENABLE_ALL")


def logits() -> np.ndarray:
    extended = helper.make_model(onnx.GraphProto())
    extended.CopyFrom(model("y = Identity(a)"))
    return run(extended, {"x": X}, "ORT_ENABLE_ALL")["y"]


@pytest.mark.parametrize(
    "tail", [*SOFTMAXES.values(), *LOGARITHMS.values()], ids=[*SOFTMAXES, *(f"logarithm, {n}" for n in LOGARITHMS)]
)
def test_looked_through(tail: str) -> None:
    plain = outputs("y = Identity(a)")
    found = outputs(tail)
    np.testing.assert_allclose(found["score"], logits()[np.arange(3), TARGET], rtol=1e-6)
    np.testing.assert_array_equal(found["grad_x"], plain["grad_x"])


@pytest.mark.parametrize("tail", OTHERS.values(), ids=OTHERS)
def test_others_are_scores_themselves(tail: str) -> None:
    target = np.array([2, 0, 1])
    found = run(differentiate(model(tail)), {"x": X, "target": target}, "ORT_ENABLE_ALL")
    np.testing.assert_array_equal(found["score"], found["y"][np.arange(3), target])


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(
    "tail", [*SOFTMAXES.values(), *LOGARITHMS.values()], ids=[*SOFTMAXES, *(f"logarithm, {n}" for n in LOGARITHMS)]
)
def test_probabilities(tail: str, score: str) -> None:
    explainer = onnxplain.Explainer(model(tail), score=score)
    powers = np.exp(logits())
    (explanation,) = explainer.explain_table(X[:1], [f"feature {k}" for k in range(4)])
    best = int(powers[0].argmax())
    assert explanation.target == best
    assert explanation.probability == pytest.approx(powers[0, best] / powers[0].sum(), rel=1e-5)


@pytest.mark.parametrize(
    "tail",
    [
        "p = Sigmoid(a) y = LpNormalization<axis=1, p=1>(p)",
        "p = Sigmoid(a) s = ReduceSum<keepdims=1>(p, one) q = Div(p, s) y = Identity(q)",
        'p = Sigmoid(a) y = ai.onnx.ml.Normalizer<norm="L1">(p)',
        "b = MatMul(a, w1) p = Sigmoid(b) r = Sub(unity, p) y = Concat<axis=1>(r, p)",
    ],
)
def test_what_adds_up_to_one_is_a_probability(tail: str) -> None:
    found = model(tail)
    found.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    expected = run(found, {"x": X}, "ORT_ENABLE_ALL")["y"]
    explanations = onnxplain.Explainer(found).explain_table(X, [f"feature {k}" for k in range(4)])
    np.testing.assert_allclose([e.probability for e in explanations], expected.max(1), rtol=1e-6)


@pytest.mark.parametrize("name", ["sklearn_naive_bayes_wine", "sklearn_one_vs_rest_wine"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_probabilities_of_scikit_learn(name: str, score: str) -> None:
    fixture = load(name)
    explainer = onnxplain.Explainer(fixture.model, score=score)
    (x,) = fixture.inputs.values()
    expected = run(onnx.load(fixture.model), fixture.inputs, "ORT_ENABLE_ALL")["probabilities"]
    found = explainer.explain_table(x, [f"feature {k}" for k in range(x.shape[1])])
    assert [e.target for e in found] == expected.argmax(1).tolist()
    np.testing.assert_allclose([e.probability for e in found], expected.max(1), rtol=1e-4)

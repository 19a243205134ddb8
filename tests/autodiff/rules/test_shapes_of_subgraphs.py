"""Gradients through subgraphs whose shapes follow from the inputs, but that ONNX's inference does not find."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnxplain import Explainer, OnnxplainError
from onnxplain.autodiff import differentiate

from support.graphs import run

W = np.random.default_rng(2).standard_normal((4, 4)).astype(np.float32)
X = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)
C = np.random.default_rng(4).standard_normal((3, 4)).astype(np.float32)


def parsed(text: str) -> onnx.ModelProto:
    """The model, with W as an initializer."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {text}')
    model.graph.initializer.append(numpy_helper.from_array(W, "W"))
    return model


def looped(output: str) -> onnx.ModelProto:
    """y = x after two rounds of v -> v * v @ W, in a Loop whose body states no shapes; ``output`` is the type of y."""
    return parsed(
        f"""
        looped (float[N, 4] x) => ({output} y)
        <int64 two = {{2}}, bool go = {{1}}>
        {{
            last = Loop(two, go, x) <body = rounds (int64 i, bool keep, float[] v) => (bool more, float[] next) {{
                more = Identity(keep)
                squares = Mul(v, v)
                next = MatMul(squares, W)
            }}>
            y = Identity(last)
        }}
        """
    )


@pytest.mark.parametrize("output", ["float[]", "float[N, 4]"])
def test_an_output_behind_a_loop(output: str) -> None:
    """What is carried has the rank it starts with: y = ((x * x) @ W)^2 @ W."""
    found = run(differentiate(looped(output), target="cotangent"), x=X, cotangent=C)
    inner = (X * X) @ W
    np.testing.assert_allclose(found["y"], inner * inner @ W, rtol=1e-4, atol=1e-5)
    expected = 2 * X * ((2 * inner * (C @ W.T)) @ W.T)
    np.testing.assert_allclose(found["grad_x"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output", ["float[]", "float[N, 4]"])
def test_a_class_behind_a_loop(output: str) -> None:
    inner, target = (X * X) @ W, [1, 3, 0]
    found = np.asarray(Explainer(looped(output)).attribute(X, target))
    np.testing.assert_allclose(found, 2 * X * ((2 * inner * W[:, target].T) @ W.T), rtol=1e-4, atol=1e-4)


def test_a_carried_value_that_changes_its_rank() -> None:
    """A loop may return another rank than it was given: then nobody knows it, and the Loop is the reason."""
    model = parsed(
        """
        grows (float[N, 4] x) => (float[] y)
        <int64 two = {2}, bool go = {1}, int64[1] front = {0}>
        {
            last = Loop(two, go, x) <body = rounds (int64 i, bool keep, float[] v) => (bool more, float[] next) {
                more = Identity(keep)
                squares = Mul(v, v)
                next = Unsqueeze(squares, front)
            }>
            y = Identity(last)
        }
        """
    )
    with pytest.raises(OnnxplainError, match="Loop"):
        differentiate(model, target="cotangent")


def branches(condition: str) -> onnx.ModelProto:
    """y = x * x @ W: squeezed to rank 2 in the branch that is taken for x [N,1,4], and left at rank 3 in the other."""
    return parsed(
        f"""
        branches (float[N, 1, 4] x) => (float[] y)
        <int64 one = {{1}}, int64[1] at = {{1}}, int64 where = {{1}}>
        {{
            xx = Mul(x, x)
            {condition}
            rows = If(taken) <
                then_branch = yes () => (float[N, 4] rows_yes) {{ rows_yes = Squeeze(xx, at) }},
                else_branch = no () => (float[N, 1, 4] rows_no) {{ rows_no = Identity(xx) }}
            >
            y = MatMul(rows, W)
        }}
        """
    )


SHAPE_SAYS = "s = Shape(xx) e = Gather(s, where) taken = Equal(e, one)"


def test_branches_of_different_rank_where_the_shape_says_which() -> None:
    """What must stay: in the main graph such an If is decided before the walk."""
    found = run(differentiate(branches(SHAPE_SAYS), target="cotangent"), x=X[:, None], cotangent=C)
    np.testing.assert_allclose(found["grad_x"][:, 0], 2 * X * (C @ W.T), rtol=1e-4, atol=1e-5)


def test_branches_of_different_rank_where_the_data_say_which() -> None:
    """Only a run knows the rank: refused, and the If is named."""
    model = branches("sum = ReduceSum <keepdims = 0> (xx) limit = CastLike(one, sum) taken = Greater(sum, limit)")
    with pytest.raises(OnnxplainError, match=r"\bIf\b"):
        differentiate(model, target="cotangent")


def rates(inner: str) -> onnx.ModelProto:
    """As Silero VAD: one of two networks by the sampling rate, each with an If of its own whose shapes are static."""
    text = """
        rates (float[N, 4] x, int64 rate) => (float[N, 4] y)
        <int64 high = {16000}, int64[1] at = {1}, int64 where = {1}, int64 one = {1}>
        {
            fast = Equal(rate, high)
            y = If(fast) <
                then_branch = yes () => (float[N, 4] y_yes) {
                    BODY_yes
                },
                else_branch = no () => (float[N, 4] y_no) {
                    BODY_no
                    y_no = Neg(negative)
                }
            >
        }
        """
    first, second = inner.replace("#", "a"), inner.replace("#", "b").replace("y_yes", "negative")
    return parsed(text.replace("BODY_yes", first).replace("BODY_no", second))


INNER = """
    long# = Unsqueeze(x, at)
    squares# = Mul(long#, long#)
    shape# = Shape(squares#)
    extent# = Gather(shape#, where)
    single# = Equal(extent#, one)
    rows# = If(single#) <
        then_branch = short# () => (float[N, 4] rows_short#) { rows_short# = Squeeze(squares#, at) },
        else_branch = same# () => (float[N, 1, 4] rows_same#) { rows_same# = Identity(squares#) }
    >
    y_yes = MatMul(rows#, W)
"""


@pytest.mark.parametrize("rate", [16000, 8000])
def test_branches_of_different_rank_inside_a_branch(rate: int) -> None:
    made = differentiate(rates(INNER), target="cotangent")
    found = run(made, x=X, rate=np.array(rate), cotangent=C)
    sign = 1 if rate == 16000 else -1
    np.testing.assert_allclose(found["y"], sign * (X * X @ W), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["grad_x"], sign * 2 * X * (C @ W.T), rtol=1e-4, atol=1e-4)


RECURRENT = """
    long# = Unsqueeze(x, at)
    shape# = Shape(long#)
    extent# = Gather(shape#, where)
    single# = Equal(extent#, one)
    rows# = If(single#) <
        then_branch = short# () => (float[1, N, 4] rows_short#) {
            axes# = Constant <value = int64[3] {1, 0, 2}> ()
            rows_short# = Transpose <perm = [1, 0, 2]> (long#)
        },
        else_branch = same# () => (float[N, 4] rows_same#) { rows_same# = Squeeze(long#, at) }
    >
    steps#, hidden# = RNN <hidden_size = 4> (rows#, P, R)
    front# = Constant <value = int64[2] {0, 1}> ()
    y_yes = Squeeze(steps#, front#)
"""


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_recurrent_layer_behind_branches_of_different_rank(rate: int) -> None:
    """y = tanh(x @ P^T), one step from a state of zero; the layer's rule needs the rank of what it reads."""
    model, rng = rates(RECURRENT), np.random.default_rng(5)
    p, r = (rng.standard_normal((1, 4, 4)).astype(np.float32) for _ in range(2))
    model.graph.initializer.extend([numpy_helper.from_array(p, "P"), numpy_helper.from_array(r, "R")])
    found = run(differentiate(model, wrt="x", target="cotangent"), x=X, rate=np.array(rate), cotangent=C)
    sign, y = (1 if rate == 16000 else -1), np.tanh(X @ p[0].T)
    np.testing.assert_allclose(found["y"], sign * y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["grad_x"], sign * ((1 - y * y) * C) @ p[0], rtol=1e-4, atol=1e-4)


ZOO = os.environ.get("ONNXPLAIN_ZOO")


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
@pytest.mark.parametrize(("rate", "samples"), [(16000, 512), (8000, 256)])
def test_silero_vad(rate: int, samples: int) -> None:
    """A network per sampling rate, in branches with branches: the slope along a direction is that of the runtime."""
    model = onnx.load(Path(ZOO or "") / "tasks" / "silero_vad_v4.onnx")
    rng = np.random.default_rng(0)
    x, direction = (rng.standard_normal((2, samples)).astype(np.float32) for _ in range(2))
    h, c = (0.3 * rng.standard_normal((2, 2, 64)).astype(np.float32) for _ in range(2))
    feeds = {"sr": np.array(rate), "h": h, "c": c}
    step, cotangent = np.float32(2e-4), np.array([[1], [-0.5]], np.float32)
    ahead, behind = (run(model, input=x + sign * step * direction, **feeds)["output"] for sign in (1, -1))
    found = run(differentiate(model, wrt="input", target="cotangent"), input=x, cotangent=cotangent, **feeds)
    np.testing.assert_allclose(found["output"], run(model, input=x, **feeds)["output"], atol=1e-5)
    expected = np.sum(cotangent * (ahead.astype(np.float64) - behind)) / (2 * step)
    assert np.sum(found["grad_input"].astype(np.float64) * direction) == pytest.approx(expected, rel=2e-2)


def test_a_stated_shape_of_an_if_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    """y = (x * x + c) @ W with an old batch stated for the result of the If: what follows from its branches counts."""
    model = parsed(
        """
        branches (float[N, 4] x) => (float[] y) <float[1, 4] q> {
            s = Shape<start = 0, end = 1>(x)
            none = Constant<value = int64[1] {0}>()
            first = Squeeze(s, none)
            one = Constant<value_int = 1>()
            alone = Equal(first, one)
            q = If (alone) <
                then_branch = t () => (float[] a) { b = Mul(x, x) c = Constant<value_float = 2.0>() a = Add(b, c) },
                else_branch = e () => (float[] f) { g = Mul(x, x) h = Constant<value_float = -1.0>() f = Add(g, h) }
            >
            y = MatMul(q, W)
        }
        """
    )
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=C)
    np.testing.assert_allclose(found["grad_x"], 2 * X * (C @ W.T), rtol=1e-4, atol=1e-5)
    assert not caplog.records

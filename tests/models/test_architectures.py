"""Whole networks, exported by both of torch's exporters, against torch.autograd in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import onnxplain

from support.architectures import ARCHITECTURES, Architecture
from support.architectures.export import EXPORTERS, Reference, export, reference

BATCHES = (1, 3)
LEVELS = {
    name: getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{name}")
    for name in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_LAYOUT", "ENABLE_ALL")
    if hasattr(onnxruntime.GraphOptimizationLevel, f"ORT_{name}")
}
#: Largest error allowed where torch's own float32 error is smaller still: eight units in the last place
#: of the largest gradient, so that a lucky rounding of torch's is no stricter a demand than float32 is.
FLOOR = 8 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Subject:
    """One network by one exporter: before and after differentiation, and what torch says.

    ``rewritten`` has the gradient in the forms for the CPU provider.
    """

    architecture: Architecture
    plain: onnx.ModelProto
    differentiated: onnx.ModelProto
    rewritten: onnx.ModelProto
    references: tuple[Reference, ...]

    @property
    def gradient_name(self) -> str:
        """The output that holds the gradient of the image, or of the embedding of the token ids."""
        found = [v for v in self.differentiated.graph.output if v.name.startswith("grad_")]
        if self.architecture.vocabulary:
            width = self.references[0].gradient.shape[2]
            found = [v for v in found if [d.dim_value for d in v.type.tensor_type.shape.dim][2:] == [width]]
        assert len(found) == 1
        return found[0].name


@pytest.fixture(
    scope="module",
    params=[(architecture, exporter) for architecture in ARCHITECTURES for exporter in EXPORTERS],
    ids=lambda param: f"{param[0].name}-{param[1]}",
)
def subject(request: pytest.FixtureRequest) -> Subject:
    architecture, exporter = request.param
    model = architecture.model()
    plain = export(architecture, model, exporter)
    before = plain.SerializeToString()
    everywhere = onnxplain.Target(at="all")  # the sum over the places that some of the networks have
    differentiated = onnxplain.differentiate(plain, everywhere)
    assert plain.SerializeToString() == before
    references = tuple(reference(architecture, model, batch) for batch in BATCHES)
    rewritten = onnxplain.differentiate(plain, everywhere, form="cpu")
    return Subject(architecture, plain, differentiated, rewritten, references)


@pytest.mark.parametrize("provider", ["portable", "cpu"])
@pytest.mark.parametrize("level", LEVELS)
def test_gradient_and_score(subject: Subject, level: str, provider: str) -> None:
    runner = session(subject.differentiated if provider == "portable" else subject.rewritten, level)
    for expected in subject.references:
        feeds = {"x": expected.x, "target": expected.target}
        gradient, score = runner.run([subject.gradient_name, "score"], feeds)
        check_gradient(gradient, expected)
        np.testing.assert_allclose(score, expected.score, rtol=0, atol=1e-5 * expected.largest)


def check_gradient(found: np.ndarray, expected: Reference) -> None:
    """Image by image, relative to its largest gradient: at most 1e-4 for 999 elements of 1000, and at
    most three times torch's own float32 error for all of them."""
    assert found.shape == expected.gradient.shape
    for index, exact in enumerate(expected.gradient):
        scale = np.abs(exact).max()
        assert scale > 0
        error = np.abs(found[index] - exact) / scale
        own = np.abs(expected.gradient32[index] - exact).max() / scale
        assert np.quantile(error, 0.999) <= 1e-4
        assert error.max() <= max(3 * own, FLOOR)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda g: g * 1.001, id="a tenth of a percent"),
        pytest.param(lambda g: np.roll(g, 1, axis=-1), id="shifted by a pixel"),
        pytest.param(lambda g: g + 1e-5 * (np.abs(g) == np.abs(g).max()), id="one pixel"),
    ],
)
def test_the_criterion_rejects(wrong: Callable[[np.ndarray], np.ndarray]) -> None:
    exact = np.random.default_rng(0).standard_normal((1, 3, 32, 32))
    rounded = exact.astype(np.float32)
    expected = Reference(exact, np.zeros(1), np.zeros(1), 0.0, exact, rounded)
    check_gradient(rounded, expected)
    with pytest.raises(AssertionError):
        check_gradient(wrong(rounded), expected)


def test_outputs_are_unchanged(subject: Subject) -> None:
    """The same bits where ONNX Runtime runs the nodes as they are; where it fuses them, the gradient's
    additional readers make it fuse others, which costs float32 rounding."""
    for level, tolerance in (("DISABLE_ALL", 0.0), ("ENABLE_ALL", 1e-5)):
        before, after = session(subject.plain, level), session(subject.differentiated, level)
        for expected in subject.references:
            (y,) = before.run(["y"], {"x": expected.x})
            (found,) = after.run(["y"], {"x": expected.x, "target": expected.target})
            np.testing.assert_allclose(found, y, rtol=0, atol=tolerance * np.abs(y).max())


def test_graph_is_clean(subject: Subject) -> None:
    model = subject.differentiated
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    assert dead(model) == []
    assert [v.name for v in model.graph.input] == ["x", "target"]
    assert [v.name for v in model.graph.output][:2] == ["y", "score"]


def test_the_provider_changes_neither_inputs_nor_outputs(subject: Subject) -> None:
    before, after = subject.differentiated, subject.rewritten
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert after.metadata_props == before.metadata_props
    assert {node.domain for node in after.graph.node} == {""}
    assert dead(after) == []
    assert weights(after) < 1.02 * weights(before) + 8192


def test_shapes_say_where_nothing_was_broadcast(subject: Subject) -> None:
    """Only un-broadcasting that shape inference could not settle looks for its axes at run time."""
    assert [node.name for node in subject.differentiated.graph.node if node.op_type == "NonZero"] == []


def test_symbolic_dimensions_stay_symbolic(subject: Subject) -> None:
    shapes = {v.name: dims(v) for v in [*subject.differentiated.graph.input, *subject.differentiated.graph.output]}
    x = shapes["x"]
    assert x == dims(subject.plain.graph.input[0])
    assert all(isinstance(x[axis], str) for axis, _ in subject.architecture.dynamic)
    assert shapes["target"] == shapes["score"] == x[:1]
    if not subject.architecture.vocabulary:
        assert shapes[subject.gradient_name] == x
    else:
        assert shapes[subject.gradient_name][:2] == x


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_architecture_is_not_degenerate(architecture: Architecture) -> None:
    """Random weights that kill units or give every class one score would make the other tests easy."""
    model = architecture.model()
    active: list[float] = []
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.register_forward_hook(lambda module, args, y: active.append(float((y > 0).float().mean())))
    scores: Tensor = model(architecture.inputs(16, seed=0)).detach()
    assert all(0.05 < share < 0.95 for share in active)
    assert scores.flatten(1).std(dim=1).min() > 0.1
    assert scores.std(dim=0).median() > 0.01


def session(model: onnx.ModelProto, level: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def dead(model: onnx.ModelProto) -> list[str]:
    """Names of nodes and initialisers that no output of the model depends on."""
    needed = {v.name for v in model.graph.output}
    unused: list[str] = []
    for node in reversed(model.graph.node):
        if needed.isdisjoint(node.output):
            unused.append(node.name)
        else:
            needed.update(node.input)
            for attribute in node.attribute:
                needed.update(name for inner in attribute.g.node for name in inner.input)
    return unused + [tensor.name for tensor in model.graph.initializer if tensor.name not in needed]


def weights(model: onnx.ModelProto) -> int:
    """Bytes of all initialisers."""
    return sum(tensor.ByteSize() for tensor in model.graph.initializer)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)

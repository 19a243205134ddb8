"""Attention rollout and relevance against torch, for attention that is written out and fused; token-grid Grad-CAM."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from onnxplain import Explainer, InputError

from support import small_models as small
from support.architectures import ARCHITECTURES
from support.architectures.base import Architecture
from support.architectures.export import export
from support.architectures.transformers import Attention, Block, Swin, ViT

TARGETS = [3, 0]
GRID = 4


class PooledViT(ViT):
    """The same without a class token: the mean over patches is classified."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position[:, 1:]
        return self.fc(self.norm(self.blocks(x)).mean(1))


class TorchAttention(nn.Module):
    """torch's own module, which folds the heads into the batch."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        found: Tensor = self.inner(x, x, x, need_weights=True, average_attn_weights=False)[0]
        return found


class TorchViT(ViT):
    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            assert isinstance(block, Block)
            block.attention = TorchAttention(24, 3)  # type: ignore[assignment]


def rollout(probabilities: list[Tensor], gradients: list[Tensor]) -> Tensor:
    total = torch.eye(probabilities[0].shape[-1])
    for p in probabilities:
        total = (0.5 * p.mean(1) + 0.5 * torch.eye(p.shape[-1])) @ total
    return total


def relevance(probabilities: list[Tensor], gradients: list[Tensor]) -> Tensor:
    total = torch.eye(probabilities[0].shape[-1])[None].repeat(2, 1, 1)
    for p, g in zip(probabilities, gradients):
        total = total + (p * g).clamp(min=0).mean(1) @ total
    return total


FORMULAS: dict[str, Callable[[list[Tensor], list[Tensor]], Tensor]] = {
    "attention_rollout": rollout,
    "attention_relevance": relevance,
}


@dataclass(frozen=True)
class Subject:
    """A transformer in ONNX, inputs for it, and what torch finds in its blocks."""

    explainer: Explainer
    x: np.ndarray
    probabilities: list[Tensor]
    gradients: list[Tensor]
    pooled: bool

    def expected(self, formula: Callable[[list[Tensor], list[Tensor]], Tensor]) -> np.ndarray:
        total = formula(self.probabilities, self.gradients)
        patches = total.mean(1) if self.pooled else total[:, 0, 1:]
        return patches.reshape(2, GRID, GRID).numpy()


def written(model: nn.Module) -> list[Tensor]:
    """Make every attention keep its probabilities, in this list."""
    kept: list[Tensor] = []

    def mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        kept.append(torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, dim=-1))
        return kept[-1] @ value

    for module in model.modules():
        if isinstance(module, Attention):
            module.mix = mix  # type: ignore[method-assign]
    return kept


#: What exporters are asked for: name -> (exporter, opset).
EXPORTS = {
    "torchscript": ("torchscript", 17),
    "dynamo": ("dynamo", 18),
    "fused": ("dynamo", 23),
    "pooled": ("dynamo", 23),
}


@pytest.fixture(scope="module", params=EXPORTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    """At opset 23 attention is one operator, which keeps the probabilities to itself."""
    pooled, (exporter, opset) = request.param == "pooled", EXPORTS[request.param]
    architecture = Architecture("vit", PooledViT if pooled else ViT, (3, 32, 32))
    model = architecture.model()
    proto = export(architecture, model, exporter, opset)
    assert any(node.op_type == "Attention" for node in proto.graph.node) == (opset == 23)
    x, probabilities = architecture.inputs(2, seed=1), written(model)
    score = model(x)[range(2), TARGETS].sum()
    gradients = list(torch.autograd.grad(score, probabilities))
    return Subject(Explainer(proto), x.numpy(), [p.detach() for p in probabilities], gradients, pooled)


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-4 of the largest magnitude."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("method", FORMULAS)
def test_formulas_of_the_papers(subject: Subject, method: str) -> None:
    found = subject.explainer.attribute(subject.x, TARGETS, method=method, interpolation="none")
    assert_agree(found, subject.expected(FORMULAS[method]))


def test_rollout_is_the_same_for_every_class_and_relevance_is_not(subject: Subject) -> None:
    attribute = subject.explainer.attribute
    for method, same in (("attention_rollout", True), ("attention_relevance", False)):
        maps = [attribute(subject.x, target, method=method) for target in (0, 1)]
        assert maps[0].shape == (2, 32, 32)
        assert np.allclose(maps[0], maps[1], rtol=1e-4) == same


def test_grad_cam_of_the_tokens(subject: Subject) -> None:
    """The gradient at the patches is not zero: the layer is the input of the last attention, not its output."""
    found = subject.explainer.attribute(subject.x, TARGETS, method="grad_cam", relu=False, interpolation="none")
    assert found.shape == (2, GRID, GRID)
    assert (found.reshape(2, -1).std(axis=1) > 0).all()


def test_grad_cam_of_named_tokens_is_torch_s() -> None:
    architecture = Architecture("vit", ViT, (3, 32, 32))
    model = architecture.model()
    explainer = Explainer(export(architecture, model, "torchscript"))
    x, kept = architecture.inputs(2, seed=1), list[Tensor]()
    block = model.get_submodule("blocks.2.norm1")
    handle = block.register_forward_hook(lambda module, args, output: kept.append(output))
    score = model(x)[range(2), TARGETS].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient[:, 1:].mean(1, keepdim=True)
    expected = (weights * kept[0][:, 1:]).sum(2).clamp(min=0).reshape(2, GRID, GRID).detach().numpy()
    layer = "/blocks/blocks.2/norm1/LayerNormalization_output_0"
    found = explainer.attribute(x.numpy(), TARGETS, method="grad_cam", layer=layer, interpolation="none")
    assert_agree(found, expected)


def test_heads_that_are_folded_into_the_batch() -> None:
    """A model of a fixed batch of three, filled up with a third sample for two."""
    architecture = Architecture("vit", TorchViT, (3, 32, 32))
    model = architecture.model()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (architecture.inputs(3, seed=0),), file, dynamo=False, opset_version=17)
    x, kept = architecture.inputs(2, seed=1), list[Tensor]()
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(lambda module, args, output: kept.append(output[1].detach()))
    model(x)
    expected = rollout(kept, [])[:, 0, 1:].reshape(2, GRID, GRID).numpy()
    found = Explainer(file.getvalue()).attribute(x.numpy(), 0, method="attention_rollout", interpolation="none")
    assert_agree(found, expected)


def test_ways_to_join_heads_and_tokens_that_are_named(subject: Subject) -> None:
    largest = subject.explainer.attribute(subject.x, 0, method="attention_rollout", heads="max", interpolation="none")
    assert largest.shape == (2, GRID, GRID)
    second = subject.explainer.attribute(subject.x, 0, method="attention_rollout", token=-1, interpolation="none")
    expected = rollout(subject.probabilities, [])[:, -1, 0 if subject.pooled else 1 :]
    assert_agree(second, expected.reshape(2, GRID, GRID).numpy())
    with pytest.raises(InputError, match="token=99 is not one of the"):
        subject.explainer.attribute(subject.x, 0, method="attention_rollout", token=99)
    with pytest.raises(InputError, match="heads is one of 'mean', 'max', 'min'; found 'sum'"):
        subject.explainer.attribute(subject.x, 0, method="attention_rollout", heads="sum")


def test_attention_of_onnx_runtime_and_texts() -> None:
    """com.microsoft's operator, over tokens that are no image: a map [n,T]."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MultiHeadAttention", ["x", "x", "x"], ["a"], domain="com.microsoft", num_heads=2),
        helper.make_node("Add", ["x", "a"], ["y"]),
        helper.make_node("ReduceMean", ["y", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "W"], ["logits"]),
    ]
    model = small.build(
        nodes,
        [("x", small.FLOAT, ["N", 5, 8])],
        [("logits", small.FLOAT, ["N", 3])],
        {"W": weight, "axes": np.array([1])},
        domains={"com.microsoft": 1},
    )
    x = rng.standard_normal((2, 5, 8)).astype(np.float32)
    heads = torch.from_numpy(x).reshape(2, 5, 2, 4).transpose(1, 2)
    p = torch.softmax(heads @ heads.transpose(-2, -1) / 2, dim=-1)
    found = Explainer(model, channel_axis=2).attribute(x, 0, method="attention_rollout")
    assert_agree(found, rollout([p], []).mean(1).numpy())


def test_texts_have_a_map_over_their_tokens() -> None:
    """By the gradient of the embeddings that integers lead to; padding is the token 0."""
    text = next(a for a in ARCHITECTURES if a.name == "text")
    model = export(text, text.model(), "torchscript")
    embedding = next(node.output[0] for node in model.graph.node if "embedding" in node.output[0])
    explainer, ids = Explainer(model, wrt=embedding), text.inputs(2, seed=0).numpy()
    for method in ("grad_cam", "attention_rollout", "attention_relevance"):
        found = explainer.attribute(ids, 1, method=method)
        assert found.shape == (2, 12) and found.any()


def test_attention_that_cannot_be_followed_is_refused() -> None:
    swin = Architecture("swin", Swin, (3, 32, 32))
    explainer = Explainer(export(swin, swin.model(), "torchscript"))
    with pytest.raises(InputError, match=r"is it within windows\?"):
        explainer.attribute(swin.inputs(1, seed=0).numpy(), 0, method="attention_rollout")
    with pytest.raises(InputError, match="no attention probabilities lie between 'x' and the score"):
        Explainer(small.quadratic()).attribute(small.inputs(1), 0, method="attention_rollout")

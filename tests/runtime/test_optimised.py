"""Models that ONNX Runtime's optimisers rewrote into operators of its own: the same gradients as before."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from onnxplain import Target, UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.architectures import ARCHITECTURES
from support.architectures.base import Architecture
from support.architectures.export import export
from support.checker import session

_LEVELS = onnxruntime.GraphOptimizationLevel


def optimised(model: onnx.ModelProto, folder: Path, level: Any = _LEVELS.ORT_ENABLE_EXTENDED) -> onnx.ModelProto:
    """The file that ONNX Runtime writes of its optimised graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def foreign(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node if node.domain == "com.microsoft")


def gradients(model: onnx.ModelProto, feeds: dict[str, np.ndarray], rank: int, **options: Any) -> list[np.ndarray]:
    """The score, summed over places if there are any, and the gradient of that rank."""
    model = differentiate(model, Target(at="all"), **options)
    (name,) = (v.name for v in model.graph.output if v.name.startswith("grad_") and _rank(v) == rank)
    wanted = {v.name for v in model.graph.input}
    found: list[np.ndarray] = session(model).run(["score", name], {k: v for k, v in feeds.items() if k in wanted})
    return found


def _rank(value: onnx.ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)


def assert_same(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-4) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_optimised_architectures(architecture: Architecture, tmp_path: Path) -> None:
    plain = export(architecture, architecture.model(), "torchscript")
    fused = optimised(plain, tmp_path)
    feeds = {"x": architecture.inputs(2, seed=3).numpy(), "target": np.array([1, 4])}
    rank = 3 if architecture.vocabulary else len(architecture.shape) + 1
    assert_same(*(gradients(model, feeds, rank) for model in (fused, plain)))


def torchscript(model: nn.Module, inputs: tuple[Tensor, ...], names: list[str], opset: int) -> onnx.ModelProto:
    file = io.BytesIO()
    dynamic = {name: {0: "N"} for name in [*names, "y"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), inputs, file, opset_version=opset, input_names=names, output_names=["y"],
            dynamic_axes=dynamic, dynamo=False,
        )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


class RootMeanSquare(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, size))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Block(nn.Module):
    """A dense layer between two normalisations, with a residual."""

    def __init__(self, norm: type[nn.Module], activation: Any) -> None:
        super().__init__()
        self.norms, self.activation = nn.ModuleList([norm(8), norm(8)]), activation
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.down(self.activation(self.up(self.norms[0](x))))
        return self.norms[1](x)[:, 0]


def tanh_gelu(x: Tensor) -> Tensor:
    return nn.functional.gelu(x, approximate="tanh")


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize(
    ("norm", "activation", "expected"),
    [
        (nn.LayerNorm, nn.functional.gelu, {"Gelu", "BiasGelu"}),
        (nn.LayerNorm, tanh_gelu, {"FastGelu", "FusedMatMul"}),
        (RootMeanSquare, nn.functional.silu, {"QuickGelu"}),
    ],
)
def test_optimised_blocks(
    norm: type[nn.Module], activation: Any, expected: set[str], opset: int, tmp_path: Path
) -> None:
    """LayerNormalization in opsets that do not know it, SimplifiedLayerNormalization, and fused activations."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 8)
    plain = torchscript(Block(norm, activation), (x,), ["x"], opset)
    fused = optimised(plain, tmp_path)
    normalisations = [n.op_type for n in fused.graph.node if n.op_type.endswith("LayerNormalization")]
    assert len(normalisations) == 2
    assert expected.intersection(foreign(fused)) or opset == 13
    feeds = {"x": x.numpy(), "target": np.array([0, 3, 7])}
    assert_same(*(gradients(model, feeds, 3) for model in (fused, plain)), tolerance=1e-5)
    before = session(fused).run(None, {"x": x.numpy()})[0]
    after = session(differentiate(fused)).run(["y"], feeds)[0]
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 2e-3)])
@pytest.mark.parametrize("axis", [-1, 1])
def test_simplified_layer_normalization(axis: int, dtype: Any, tolerance: float) -> None:
    """ONNX Runtime's own operator in the default domain, with its second output, 1 / √(mean x² + ε)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 4))
    scale = rng.uniform(0.5, 2, (2, 4) if axis == 1 else (4,))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node("SimplifiedLayerNormalization", ["x", "s"], ["y", "r"], axis=axis, epsilon=1e-2)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", kind, ["N", 2, 4])],
        [
            helper.make_tensor_value_info("y", kind, ["N", 2, 4]),
            helper.make_tensor_value_info("r", TensorProto.FLOAT, ["N", None, 1]),
        ],
        [numpy_helper.from_array(scale.astype(dtype), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": x.astype(dtype), "cotangent": rng.standard_normal(x.shape).astype(dtype)}
    found = session(differentiate(model, target="cotangent")).run(["y", "r", "grad_x"], feeds)
    before = session(model).run(None, {"x": feeds["x"]})
    variable = torch.tensor(feeds["x"].astype(np.float64), requires_grad=True)
    axes = (-1,) if axis == -1 else (1, 2)
    root = torch.rsqrt((variable * variable).mean(axes, keepdim=True) + 1e-2)
    y = variable * root * torch.tensor(scale.astype(dtype).astype(np.float64))
    (expected,) = torch.autograd.grad(y, variable, torch.tensor(feeds["cotangent"].astype(np.float64)))
    for a, b in zip(found, [before[0], root.detach().numpy(), expected.numpy()]):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


class Bert(nn.Module):
    """Two encoder layers over words, positions and segments, with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.segments = nn.Embedding(30, 16), nn.Embedding(12, 16), nn.Embedding(2, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)
        self.layers = nn.ModuleList(nn.ModuleDict(self.layer()) for _ in range(2))
        self.register_buffer("places", torch.arange(12)[None])

    @staticmethod
    def layer() -> dict[str, nn.Module]:
        linear = {name: nn.Linear(16, 16) for name in ("query", "key", "value", "out")}
        dense = {"up": nn.Linear(16, 32), "down": nn.Linear(32, 16)}
        return {**linear, **dense, "first": nn.LayerNorm(16), "second": nn.LayerNorm(16)}

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
        embedded = self.words(ids) + self.segments(segments) + self.positions(self.places[:, : ids.shape[1]])
        x = self.norm(embedded)
        hidden = (1.0 - mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            query, key, value = (
                layer[name](x).view(x.shape[0], x.shape[1], 2, 8).permute(0, 2, 1, 3)
                for name in ("query", "key", "value")
            )
            p = torch.softmax(query @ key.transpose(-1, -2) / 8**0.5 + hidden, -1)
            y = (p @ value).permute(0, 2, 1, 3).contiguous().view(x.shape[0], x.shape[1], 16)
            x = layer["first"](layer["out"](y) + x)
            x = layer["second"](layer["down"](nn.functional.gelu(layer["up"](x))) + x)
        return self.head(x[:, 0])


@pytest.mark.parametrize("opset", [11, 17])
def test_bert_by_the_transformer_optimiser(opset: int, tmp_path: Path) -> None:
    """Attention, EmbedLayerNormalization, SkipLayerNormalization and BiasGelu; without an import of their domain."""
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
    torch.manual_seed(1)
    ids, mask = torch.randint(0, 30, (3, 7)), torch.ones(3, 7, dtype=torch.int64)
    segments = (torch.arange(7) > 2).long().repeat(3, 1)
    mask[1, 4:] = 0
    plain = torchscript(Bert(), (ids, mask, segments), ["ids", "mask", "segments"], opset)
    onnx.save(plain, tmp_path / "bert.onnx")
    fused = optimizer.optimize_model(
        str(tmp_path / "bert.onnx"), model_type="bert", num_heads=2, hidden_size=16, opt_level=0
    ).model
    assert foreign(fused) == {
        "Attention": 2, "EmbedLayerNormalization": 1, "SkipLayerNormalization": 4, "BiasGelu": 2
    }  # fmt: skip
    feeds = {"ids": ids.numpy(), "mask": mask.numpy(), "segments": segments.numpy(), "target": np.array([0, 1, 2])}
    at = next(n.output[0] for n in fused.graph.node if n.op_type == "EmbedLayerNormalization")
    found = differentiate(fused)
    assert [v.name for v in found.graph.output if v.name.startswith("grad_")] == [f"grad_{at}"]
    same = _after_first_normalisation(plain)
    assert_same(gradients(fused, feeds, 3), gradients(plain, feeds, 3, wrt=same))


def _after_first_normalisation(model: onnx.ModelProto) -> str:
    """What the first attention reads: the input of the first product."""
    return str(next(node.input[0] for node in model.graph.node if node.op_type == "MatMul"))


def test_blocked_layout_is_refused_by_name(tmp_path: Path) -> None:
    """Files of the last optimisation level are for one machine; the advice says which level to take."""
    architecture = next(a for a in ARCHITECTURES if a.name == "resnet18")
    blocked = optimised(export(architecture, architecture.model(), "torchscript"), tmp_path, _LEVELS.ORT_ENABLE_ALL)
    assert any(node.domain == "com.microsoft.nchwc" for node in blocked.graph.node)
    with pytest.raises(UnsupportedOperatorError, match=r"com\.microsoft\.nchwc::.*ORT_ENABLE_EXTENDED"):
        differentiate(blocked)


def test_unknown_operators_off_the_path_do_not_matter() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Mystery", ["x"], ["other"], domain="somewhere.else"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 3]),
        ],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("somewhere.else", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    assert [v.name for v in differentiate(model).graph.output] == ["y", "other", "score", "grad_x"]
    with pytest.raises(UnsupportedOperatorError, match=r"somewhere\.else::Mystery"):
        differentiate(model, tensor="other")

"""Small transformers, built by hand: layers on x [N,9,8] and a classifier of tokens."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from support.small_models import FLOAT, build

TOKENS, WIDTH, HEADS = 9, 8, 2


class Net:
    """Builds x [N,9,8] -> ... -> mean over the tokens -> logits [N,8]."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(5)

    def op(self, kind: str, *inputs: str | np.ndarray | float, **attributes: object) -> str:
        name = f"{kind}{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.constant(np.asarray(value)) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = array if array.dtype == np.int64 else array.astype(np.float32)
        return name

    def normal(self, *shape: int) -> np.ndarray:
        return self.random.standard_normal(shape)

    def linear(self, x: str, outputs: int = WIDTH) -> str:
        return self.op("Add", self.op("MatMul", x, self.normal(WIDTH, outputs) * 0.5), self.normal(outputs))

    def normalization(self, x: str) -> str:
        return self.op("LayerNormalization", x, self.normal(WIDTH), self.normal(WIDTH), axis=-1)

    def attention(self, q: str, k: str, v: str) -> str:
        def heads(x: str, perm: list[int]) -> str:
            return self.op("Transpose", self.op("Reshape", x, np.array([0, 0, HEADS, -1])), perm=perm)

        scores = self.op("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]))
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), heads(v, [0, 2, 1, 3]))
        return self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, WIDTH]))

    def model(self, last: str, tokens: int | str = TOKENS) -> onnx.ModelProto:
        logits = self.op("ReduceMean", last, np.array([1]), keepdims=0)
        return build(self.nodes, [("x", FLOAT, ["N", tokens, WIDTH])], [(logits, FLOAT, ["N", WIDTH])], self.constants)


def feeds(samples: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(samples).standard_normal((samples, TOKENS, WIDTH)).astype(np.float32)
    return {"x": x, "target": np.arange(samples, dtype=np.int64)}


def block(net: Net, x: str) -> str:
    """A transformer's block, as Vision Transformers have it."""
    h = net.normalization(x)
    x = net.op("Add", x, net.linear(net.attention(net.linear(h), net.linear(h), net.linear(h))))
    h = net.linear(net.normalization(x))
    gelu = net.op("Mul", h, net.op("Add", net.op("Erf", net.op("Div", h, 2**0.5)), 1.0))
    return net.op("Add", x, net.linear(net.op("Mul", gelu, 0.5)))


def classified(net: Net, last: str, token: str = "Gather 0") -> onnx.ModelProto:
    """Logits [N,8] of one token, or of the sum over two."""
    kind, index = token.split()
    if kind == "Gather":
        picked = net.op("Gather", last, np.array(int(index)), axis=1)
    else:
        begin, end = (np.array([int(one)]) for one in index.split(":"))
        picked = net.op("ReduceSum", net.op("Slice", last, begin, end, np.array([1])), np.array([1]), keepdims=0)
    logits = net.op("MatMul", picked, net.normal(WIDTH, WIDTH))
    return build(net.nodes, [("x", FLOAT, ["N", TOKENS, WIDTH])], [(logits, FLOAT, ["N", WIDTH])], net.constants)

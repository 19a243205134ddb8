"""JAX, Flax (nnx) through jax2onnx; the gradients are jax.grad's.

``pip install "jax[cpu]" jax2onnx flax onnx``, then ``python tests/producers/jax.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file must not be taken for the package it imports
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax2onnx import to_onnx

from producers.fixture import store


class Perceptron(nnx.Module):
    """Tabular data."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(10, 16, rngs=rngs)
        self.norm = nnx.LayerNorm(16, rngs=rngs)
        self.second = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.gelu(self.norm(self.first(x)), approximate=False))


class Convolutions(nnx.Module):
    """Images, channels last, SAME padding with stride 2, batch normalisation, pooling."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, 8, (3, 3), strides=2, padding="SAME", rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.second = nnx.Conv(8, 8, (3, 3), padding="SAME", rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)
        self.norm.mean.value = jax.random.normal(jax.random.key(8), (8,)) / 4
        self.norm.var.value = jax.random.uniform(jax.random.key(9), (8,), minval=0.5, maxval=2.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.first(x)))
        x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = nnx.silu(self.second(x)) + x
        return self.head(nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2)).mean((1, 2)))


class Audio(nnx.Module):
    """A waveform [N, 192, 1]."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(1, 8, (9,), strides=4, padding="SAME", rngs=rngs)
        self.second = nnx.Conv(8, 8, (5,), padding="VALID", rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.tanh(self.second(nnx.relu(self.first(x))))
        return self.head(jnp.log1p(jnp.square(x).sum(1)))


class Transformer(nnx.Module):
    """A sequence [N, 7, 8]."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.norm(x + self.attention(x)).mean(1))


class Text(nnx.Module):
    """The rest of a text classifier behind its embedding."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(6, 8, (3,), padding="SAME", rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.first(x)).max(1))


def recurrent(x: jax.Array) -> jax.Array:
    """A time series [N, 6, 2] through a scan written in plain JAX."""
    rng = np.random.default_rng(3)
    inner, outer, head = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 5), (5, 5), (5, 3)))

    def step(state: jax.Array, xt: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(xt @ inner + state @ outer), None

    state, _ = jax.lax.scan(step, jnp.zeros((x.shape[0], 5)), jnp.swapaxes(x, 0, 1))
    return state @ head


def gradient(f: Callable[[jax.Array], jax.Array], x: np.ndarray, target: np.ndarray) -> np.ndarray:
    rows = np.arange(len(target))
    return np.asarray(jax.grad(lambda v: f(v)[rows, target].sum())(jnp.asarray(x)))


def save(name: str, f: Callable[..., Any], inputs: np.ndarray, target: Any, gradients: Any) -> None:
    """Floats with a symbolic batch; token ids, for which jax2onnx needs their type, with a fixed one."""
    floats = inputs.dtype == np.float32
    proto = to_onnx(f, [("B", *inputs.shape[1:]) if floats else jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)])
    name_in = proto.graph.input[0].name
    found = gradients(proto) if callable(gradients) else {name_in: gradients}
    packages = ("jax", "jax2onnx", "flax", "onnx")
    store(f"jax_{name}", proto, {name_in: inputs}, target, found, script=__file__, packages=packages)


def main() -> None:
    rng = np.random.default_rng(0)
    target = np.array([1, 2])
    modules = {
        "perceptron": (Perceptron(nnx.Rngs(0)), (10,)),
        "convolutions": (Convolutions(nnx.Rngs(1)), (18, 22, 3)),
        "audio": (Audio(nnx.Rngs(2)), (192, 1)),
        "transformer": (Transformer(nnx.Rngs(3)), (7, 8)),
        "scan_series": (recurrent, (6, 2)),
    }
    for name, (module, shape) in modules.items():
        x = rng.standard_normal((2, *shape)).astype(np.float32)
        save(name, lambda v, module=module: nnx.softmax(module(v)), x, target, gradient(module, x, target))

    embedding, rest = nnx.Embed(30, 6, rngs=nnx.Rngs(4)), Text(nnx.Rngs(5))
    tokens = rng.integers(0, 30, (2, 9)).astype(np.int32)
    found = gradient(rest, np.asarray(embedding(tokens)), target)

    def at_embedding(proto: Any) -> dict[str, np.ndarray]:
        tables = {t.name for t in proto.graph.initializer if list(t.dims) == [30, 6]}
        return {next(n.output[0] for n in proto.graph.node if n.input and n.input[0] in tables): found}

    save("text", lambda v: nnx.softmax(rest(embedding(v))), tokens, target, at_embedding)


if __name__ == "__main__":
    main()

"""What a transformer's tokens attend to, followed through all of its blocks, from its attention probabilities.

The probabilities P [n,heads,T,T] of every block are tensors of the graph, or are made so by writing fused attention
out. Rows are the tokens that attend, columns those that are attended to. The map is that of the tokens that the score
is computed from: the class token, or the mean over all tokens where they are pooled. Captum has neither method.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .helpers.coarse import CoarseMap, token_grid

Array = NDArray[Any]

_HEADS: dict[str, Callable[..., Array]] = {"mean": np.mean, "max": np.max, "min": np.min}


@dataclass(frozen=True)
class AttentionMethod(CoarseMap):
    """A map over tokens: [n,H,W] for images, [n,T] for text.

    - ``token``: the token whose attention is followed; None finds the one that the score is computed from, or takes
      the mean over all where they are pooled. An image's patches form a grid, without the class token before them.
    - ``interpolation``: see :class:`~.helpers.coarse.CoarseMap`.
    """

    token: int | None = None

    @abstractmethod
    def flow(self, probabilities: Sequence[Array], gradients: Sequence[Array]) -> Array:
        """Return how much of every token reaches every other, [n,T,T].

        ``probabilities`` are [n,heads,T,T], first block first, ``gradients`` those of the score with respect to them.
        """

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        source, size = self.source(attributor, feeds)
        maps = attributor.attention(source)
        tokens = maps.tokens if self.token is None else slice(self.token, self.token + 1 or None)
        if tokens is None:
            raise InputError("the score is computed from several tokens apart; name the one to follow by token=.")
        found = attributor.variant(wrt=maps.names, values=maps.names, written_out=True).attribute(feeds, targets)
        count = len(found.targets)
        probabilities = _square([found.tensors[name] for name in maps.names], count)
        rows = self.flow(probabilities, _square(found.attributions, count))[:, tokens]
        if rows.shape[1] == 0:
            raise InputError(f"token={self.token} is not one of the {rows.shape[2]} tokens.")
        reached = rows.mean(axis=1)
        if len(size) == 2:
            reached = token_grid(reached[:, None], size, maps.names[-1])[:, 0]
        return found.with_attributions([self.enlarged(reached, size)])


@dataclass(frozen=True)
class AttentionRollout(AttentionMethod):
    """Attention rollout (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3): the
    product of (P + I) / 2 over all blocks, P being the mean over heads; I stands for the residual connection.

    It does not depend on the class, nor on anything but the probabilities: the map is the same for every target.

    ``heads`` is how heads are joined: "mean" as in the paper, "max" or "min"; rows then add up to one again.
    """

    heads: str = "mean"

    name = "attention_rollout"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads not in _HEADS:
            raise InputError(f"heads is one of {', '.join(map(repr, _HEADS))}; found {self.heads!r}.")

    def flow(self, probabilities: Sequence[Array], gradients: Sequence[Array]) -> Array:
        total = identity = _identity(probabilities)
        for block in probabilities:
            joined = _HEADS[self.heads](block, axis=1) + identity
            total = joined / joined.sum(axis=-1, keepdims=True) @ total
        return total


@dataclass(frozen=True)
class AttentionRelevance(AttentionMethod):
    """Attention weighted by its gradient (Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability for
    Interpreting Bi-Modal and Encoder-Decoder Transformers", equations 5 and 6): from R = I on, R becomes R + A R in
    every block, A being the mean over heads of ReLU(P * dS_c/dP). Unlike rollout it is of the class.
    """

    name = "attention_relevance"

    def flow(self, probabilities: Sequence[Array], gradients: Sequence[Array]) -> Array:
        total = _identity(probabilities)
        for block, gradient in zip(probabilities, gradients):
            total = total + np.maximum(block * gradient, 0).mean(axis=1) @ total
        return total


def _identity(probabilities: Sequence[Array]) -> Array:
    return np.eye(probabilities[0].shape[-1], dtype=probabilities[0].dtype)[None]


def _square(arrays: Sequence[Array], count: int) -> list[Array]:
    """Return arrays [n,heads,T,T], or [n*heads,T,T] with a sample's heads in a row, as float32 [n,heads,T,T].

    Raises:
        InputError: they are none of ``count`` samples with the same T tokens in every block.
    """
    tokens = arrays[0].shape[-1]
    for array in arrays:
        if array.shape[-2:] != (tokens, tokens) or len(array) % count or (array.ndim == 4 and len(array) != count):
            raise InputError(
                f"attention of shape {list(array.shape)} is not from all {tokens} tokens of {count} samples to the "
                "same tokens, as it must be in every block to be followed (is it within windows?); use "
                "method='grad_cam'."
            )
    return [array.reshape(count, -1, tokens, tokens).astype(np.float32) for array in arrays]

"""What an explainer takes and gives, as types: arrays, photos, rows of features, sequences of tokens, classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..methods import Method
from ..photos.load import ImageSource
from ..pipeline.stream import Photo
from ..target import Target

Array: TypeAlias = NDArray[Any]
#: The arrays of a model's inputs: one, or those of all inputs by their names.
Arrays: TypeAlias = Array | Mapping[str, Array]

#: A method by its name, or with options chosen.
MethodLike: TypeAlias = str | Method

#: A class by its index.
ClassIndex: TypeAlias = int | np.integer[Any]
#: One question; a label is no such type, for "top3" stands for several classes.
One: TypeAlias = ClassIndex | Target
#: One target for each sample or photo, or several for a single one.
Each: TypeAlias = (
    list[int] | list[str] | list[Target] | list[int | str] | tuple[int | str | Target, ...] | NDArray[np.integer[Any]]
)
#: Several classes, for a result each.
Classes: TypeAlias = Sequence[int | str] | NDArray[np.integer[Any]]

#: Several photos. A single path may also be that of a folder, and an array a batch [N,H,W,3], which a type checker
#: cannot see.
Images: TypeAlias = Iterable[ImageSource | Photo]


class DataFrame(Protocol):
    """Rows with named columns, as pandas and polars have them."""

    @property
    def columns(self) -> Iterable[object]:
        """The names of the columns."""

    def to_numpy(self) -> Array:
        """Return the values [N,F]."""


#: Rows of features: one row [F], several [N,F], or those of all inputs by their names.
Rows: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | DataFrame
#: Token ids: one sequence [T], several [N,T], or all inputs by their names.
TokenIds: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
#: The texts of tokens: of one sequence, of several, or what makes a text of an id.
Tokens: TypeAlias = Sequence[str] | Sequence[Sequence[str]] | Callable[[int], str]

R = TypeVar("R")
#: The result of one row or sequence, those of several, or lists by class of these.
OneOrSeveral: TypeAlias = R | list[R] | list[list[R]]

"""Inputs that several questions are about, so that they share one pass forwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from ..runtime import BatchedSession, Forwards

Array = NDArray[Any]


class SharedFeeds(Mapping[str, Array]):
    """The inputs of some samples, which keep what a pass forwards left for the next question about the same samples.

    :meth:`.Attributor.attribute` looks for it. It is read-only, and a dict that is made of it keeps nothing: a method
    that moves the inputs builds one, and runs as it does for a single question.
    """

    def __init__(self, feeds: Mapping[str, Array], forwards: dict[BatchedSession, Forwards] | None = None) -> None:
        self._feeds = dict(feeds)
        self._forwards = {} if forwards is None else forwards

    def __getitem__(self, name: str) -> Array:
        return self._feeds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    def asking(self, feeds: Mapping[str, Array]) -> SharedFeeds:
        """Return the same samples with further inputs, those of a question."""
        return SharedFeeds({**self._feeds, **feeds}, self._forwards)

    def forwards(self, session: BatchedSession) -> Forwards:
        """Return what the passes forwards of a session left."""
        return self._forwards.setdefault(session, {})

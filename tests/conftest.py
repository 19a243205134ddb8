"""Tests leave the user's own files alone, check the graph after every pass, and leave long runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxplain.autodiff.graph.passes import checking


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared models go to a folder of this run, also those of processes that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "ONNXPLAIN_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def sound_passes() -> Iterator[None]:
    """A pass that leaves a graph that is no graph fails where it runs, by name."""
    with checking():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long runs, and those that build packages, unless ``-m`` speaks of them."""
    for name in ("long", "packaging"):
        if name in config.getoption("markexpr"):
            continue
        left_out = [item for item in items if item.get_closest_marker(name) is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]

"""Tests leave the user's own files alone, check the graph after every pass, and leave long runs out.

They interrupt processes that they start. A job in the background of a script has Ctrl-C ignored, and so would they.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxplain.autodiff.graph.passes import checking

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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

"""How ONNX Runtime runs in the browser: one thread, threads, WebGPU; and that no node of it falls back to the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from page.use import numbers, upload

from support.page_server import served

Opened = Callable[..., Any]
CLOSE = 1e-5


@pytest.fixture(scope="module")
def want(folder: Path) -> np.ndarray:
    return Explainer(folder / "small.onnx").explain(folder / "noise.png").saliency


def test_one_thread_where_the_server_does_not_isolate_the_page(opened: Opened, folder: Path, want: np.ndarray) -> None:
    with served(folder / "page", isolated=False) as url:
        page = opened("model=small&engine=auto", url)
        page.evaluate("navigator.gpu && 1")
        upload(page, folder / "noise.png")
        assert not page.evaluate("crossOriginIsolated")
        assert np.abs(numbers(page) - want).max() < CLOSE
        page = opened("model=small&engine=single", url)
        assert page.inner_text("#engine") == "WebAssembly, one thread."


def test_threads_where_it_does(opened: Opened, folder: Path, want: np.ndarray) -> None:
    page = opened("model=small&engine=threads")
    assert page.evaluate("crossOriginIsolated")
    count = min(4, page.evaluate("navigator.hardwareConcurrency"))
    assert page.inner_text("#engine") == f"WebAssembly, {count} threads."
    upload(page, folder / "noise.png")
    assert np.abs(numbers(page) - want).max() < CLOSE


@pytest.mark.parametrize("model", ["small", "efficientnet_lite0"])
def test_webgpu_runs_every_node(opened: Opened, folder: Path, want: np.ndarray, model: str) -> None:
    logs: list[str] = []
    page = opened(f"model={model}&engine=webgpu&log=verbose", logs=logs)
    assert page.inner_text("#engine") == "WebGPU."
    placed = [line for line in logs if "placed on" in line]
    assert len(placed) == 1 and "All nodes placed on [WebGpuExecutionProvider]" in placed[0]
    if model == "small":
        upload(page, folder / "noise.png")
        assert np.abs(numbers(page) - want).max() < CLOSE

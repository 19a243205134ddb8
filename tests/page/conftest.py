"""A page, a server for it and real Chromium, which playwright drives from an environment of its own."""

from __future__ import annotations

import json
import shutil
import site
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain
from engines.environments import ENGINES
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.page import write_page

from support import colour_detectors
from support import small_models as small
from support.environments import environment
from support.page_server import served

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RUNTIME = ENGINES["onnxruntime-web"].folder / "node_modules" / "onnxruntime-web" / "dist"
REQUIREMENTS = ("playwright==1.60.0", "axe-playwright-python==0.1.8")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
]
DESKTOP = {"viewport": {"width": 1300, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
#: Milliseconds that a map may take on a busy machine.
PATIENCE = 120_000


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def window(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A window as wide as a desktop's, and one as wide as a phone's, which is touched."""
    return dict(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a browser are for machines that have one, and ONNX Runtime's files for it."""
    reason = None
    if BROWSER is None:
        reason = "needs Chromium"
    elif not RUNTIME.is_dir():
        reason = "no files of ONNX Runtime web; run python -m engines.environments onnxruntime-web"
    for item in items:
        if "opened" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def packages() -> Path:
    """Where the packages of the environment are, which become importable last of all."""
    python = environment("page", REQUIREMENTS)
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    site.addsitedir(str(folder))
    return folder


@pytest.fixture(scope="session")
def browser(packages: Path) -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield running
        running.close()


def small_convolution() -> onnx.ModelProto:
    """A convolution, Relu, maximum pooling and a linear layer, 16x16 pixels, 5 classes."""
    random = np.random.default_rng(3)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "F"], ["h"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["h"], ["r"]),
        onnx.helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("Flatten", ["p"], ["flat"]),
        onnx.helper.make_node("Gemm", ["flat", "W"], ["logits"]),
        onnx.helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    constants = {
        "F": random.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "W": random.standard_normal((384, 5)).astype(np.float32) / 20,
    }
    shape, float32 = ["N", 3, 16, 16], onnx.TensorProto.FLOAT
    metadata = small.image_metadata() | {
        "onnxplain.preprocessing": onnxplain.Preprocessing(resize="exact", size=16).to_json(),
    }
    return small.build(nodes, [("x", float32, shape)], [("y", float32, ["N", 5])], constants, metadata)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the bundled classifier and a small network; beside it photos and files that are none."""
    place = tmp_path_factory.mktemp("page")
    onnx.save(small_convolution(), place / "small.onnx")
    detector = colour_detectors.yolo("yolov8")
    onnx.helper.set_model_props(
        detector,
        {**{one.key: one.value for one in detector.metadata_props}, "onnxplain.layout": json.dumps({"name": "yolov8"})},
    )
    onnx.save(detector, place / "squares.onnx")
    Image.fromarray(colour_detectors.photo()).save(place / "squares.png")
    models = {name: place / f"{name}.onnx" for name in ("small", "squares")}
    write_page({"efficientnet_lite0": bundled_model(), **models}, place / "page", runtime=RUNTIME)
    Image.open(bundled_photo()).save(place / "chelsea.png")
    random = np.random.default_rng(5)
    Image.fromarray(random.integers(0, 256, (40, 56, 3), np.uint8)).save(place / "noise.png")
    (place / "broken.png").write_bytes((place / "chelsea.png").read_bytes()[:100])
    (place / "broken.onnx").write_bytes((place / "small.onnx").read_bytes()[:200])
    onnxplain.differentiate_file(place / "small.onnx", place / "own.onnx")
    onnxplain.differentiate_file(
        place / "small.onnx",
        place / "inside.onnx",
        with_preprocessing=onnxplain.find_preprocessing(place / "small.onnx"),
    )
    return place


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """Where the page is served, isolated, so that it may use threads."""
    with served(folder / "page") as url:
        yield url


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page, at a hash, in a window of its own; in the end nothing may have gone wrong in any."""
    contexts, wrong = [], list[str]()

    def watch(message: Any) -> None:
        if message.type == "error":
            wrong.append(message.text)

    def asked(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:")):
            wrong.append(f"asked for {request.url}")

    def open_page(
        hash: str = "", url: str = address, logs: list[str] | None = None, *, watched: bool = True, **options: Any
    ) -> Any:
        context = browser.new_context(accept_downloads=True, **(options or DESKTOP))
        contexts.append(context)
        context.grant_permissions(["camera", "clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        if watched and logs is None:  # a log that was asked for comes as errors
            page.on("console", watch)
        if watched:
            page.on("request", asked)
            page.on("pageerror", lambda error: wrong.append(str(error)))
        if logs is not None:
            page.on("console", lambda message: logs.append(message.text))
        page.goto(f"{url}#{hash}")
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []

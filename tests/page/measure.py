"""Measure the page with the bundled classifier: ``cd tests && python -m page.measure [ENGINE]...`` prints a table.

For each way to run ONNX Runtime: the largest difference to Python's map, the seconds of loading and of a map, and the
bytes that the browser loads, as they are and compressed by gzip.
"""

from __future__ import annotations

import gzip
import re
import site
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from onnxplain import Explainer
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.page import write_page
from page.conftest import ARGUMENTS, BROWSER, REQUIREMENTS, RUNTIME
from page.use import explained, numbers, upload

from support.environments import environment
from support.page_server import served

ENGINES = ("single", "threads", "webgpu")
_PATIENCE = 500_000


def measured(browser: Any, folder: Path, url: str, engine: str, want: np.ndarray) -> str:
    """A row of the table."""
    page, loaded = browser.new_page(), list[Path]()
    page.set_default_timeout(_PATIENCE)
    page.on("response", lambda answer: loaded.append(folder / "page" / (answer.url.removeprefix(url) or "index.html")))
    page.goto(f"{url}#engine={engine}")
    page.wait_for_selector("body[data-ready]")
    start = page.evaluate("performance.now() / 1000")
    times = [upload(page, folder / "photo.png")]
    difference = np.abs(numbers(page) - want).max()
    files = {path for path in loaded if path.is_file()}
    plain = sum(path.stat().st_size for path in files)
    packed = sum(len(gzip.compress(path.read_bytes())) for path in files)
    page.select_option("#method", "gradient_x_input")
    times.append(explained(page))
    seconds = " / ".join(re.findall(r"([\d.]+) s by", " ".join(times)))
    name = page.inner_text("#engine").rstrip(".")
    page.close()
    return f"| {name} | {difference:.0e} | {start:.1f} | {seconds} | {plain / 1e6:.1f} | {packed / 1e6:.1f} |"


def main() -> None:
    """Print the table."""
    site.addsitedir(str(next(environment("page", REQUIREMENTS).parent.parent.glob("lib/python*/site-packages"))))
    from playwright.sync_api import sync_playwright

    print(
        "| engine | difference | ready, s | first and second map, s | MB loaded | MB, gzip |\n|---|---|---|---|---|---|"
    )
    with TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        write_page({"efficientnet_lite0": bundled_model()}, folder / "page", runtime=RUNTIME)
        Image.open(bundled_photo()).save(folder / "photo.png")
        want = Explainer().explain(folder / "photo.png").saliency
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        with served(folder / "page") as url:
            for engine in sys.argv[1:] or ENGINES:
                print(measured(browser, folder, url, engine, want), flush=True)
        browser.close()


if __name__ == "__main__":
    main()

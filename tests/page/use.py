"""What a person does with the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def explained(page: Any) -> str:
    """Wait until there is a map; returns what the page says of it."""
    page.wait_for_selector("#status:text-matches(' s by ')")
    return str(page.inner_text("#status"))


def upload(page: Any, photo: Path) -> str:
    page.set_input_files("#photo-file", photo)
    return explained(page)


def numbers(page: Any) -> np.ndarray:
    """The map, as it is saved."""
    with page.expect_download() as download:
        page.click("#save-npy")
    found: np.ndarray = np.load(download.value.path())
    return found


def refusal(page: Any) -> str:
    """Wait for a refusal."""
    page.wait_for_selector("#error:text-matches('.')")
    return str(page.inner_text("#error"))

"""Types of the C++ extension; use :mod:`onnxplain.native`, which checks the arguments."""

from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str

def available_instruction_sets() -> list[str]: ...
def saliency(
    gradient: npt.NDArray[Any],
    channel_axis: int | None,
    normalize: str,
    percentile: float,
    out: npt.NDArray[np.float32],
    threads: int,
    isa: str,
    reduction: str = "max_abs",
) -> tuple[int, int]: ...
def add_noise(
    x: npt.NDArray[np.float32],
    deviation: float,
    key: int,
    out: npt.NDArray[np.float32],
    threads: int,
    isa: str,
) -> None: ...
def accumulate(
    gradients: npt.NDArray[Any],
    totals: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64] | None,
    threads: int,
    isa: str,
) -> None: ...
def overlay(
    saliency: npt.NDArray[np.float32],
    photo: npt.NDArray[np.uint8] | None,
    colormap: npt.NDArray[np.uint8],
    alpha: float,
    weight_by_saliency: bool,
    out: npt.NDArray[np.uint8],
    threads: int,
    isa: str,
) -> tuple[int, int]: ...

"""The classifier and the photo that come with onnxplain."""

from __future__ import annotations

from pathlib import Path

from .errors import ModelError

_FOLDER = Path("models", "efficientnet_lite0")
#: The installed package, and what is beside ``src`` in a checkout.
_ROOTS = (Path(__file__).resolve().parent, Path(__file__).resolve().parents[2])


def bundled_model() -> Path:
    """EfficientNet-Lite0, 1000 classes of ImageNet, 224x224.

    Raises:
        ModelError: the installation lacks it.
    """
    return _find("efficientnet_lite0.onnx")


def bundled_photo() -> Path:
    """The cat Chelsea.

    Raises:
        ModelError: the installation lacks it.
    """
    return _find("chelsea.jpg")


def bundled_folder() -> Path | None:
    """The folder of both; None where the installation lacks it."""
    return next((root / _FOLDER for root in _ROOTS if (root / _FOLDER).is_dir()), None)


def _find(name: str) -> Path:
    folder = bundled_folder()
    if folder is not None and (folder / name).is_file():
        return folder / name
    raise ModelError(f"this installation of onnxplain lacks {_FOLDER / name}; install it again, or name a model.")

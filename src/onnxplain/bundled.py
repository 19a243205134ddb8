"""The classifier and the photo that come with onnxplain."""

from __future__ import annotations

from pathlib import Path

from .errors import ModelError

_FOLDER = Path("models", "efficientnet_lite0")
_HERE = Path(__file__).resolve().parent


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


def _find(name: str) -> Path:
    """In the installed package, or beside ``src`` in a checkout."""
    for root in (_HERE, _HERE.parents[1]):
        path = root / _FOLDER / name
        if path.is_file():
            return path
    raise ModelError(f"this installation of onnxplain lacks {_FOLDER / name}; install it again, or name a model.")

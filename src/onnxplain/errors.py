"""Every error that a user of onnxplain can cause.

All of them derive from :class:`OnnxplainError`, so one ``except`` clause is enough. A message says
what was wrong, where, what was found and what to do.
"""

from __future__ import annotations


class OnnxplainError(Exception):
    """Base class of every error that onnxplain raises on purpose."""


class ModelError(OnnxplainError):
    """The model cannot be read, is malformed, or has no float path to a score."""


class UnsupportedOperatorError(ModelError):
    """An operator, or a configuration of one, lies on the path and has no rule."""


class InputError(OnnxplainError, ValueError):
    """An array or a name handed in does not fit the model."""


class TargetError(OnnxplainError, ValueError):
    """A target is out of range, of the wrong length, or an unknown label."""


class ImageError(OnnxplainError, ValueError):
    """An image cannot be read, is empty, or is larger than the limit."""


class PreprocessingError(OnnxplainError, ValueError):
    """The preprocessing is unknown, contradictory, or does not fit the model."""


class GradientError(OnnxplainError, ArithmeticError):
    """A gradient holds NaN or infinity; the message names the image."""


class RuntimeMissingError(OnnxplainError, ImportError):
    """A package that this call needs is not installed; the message has the pip line."""


class ProviderError(OnnxplainError, RuntimeError):
    """ONNX Runtime cannot load or run the model with the requested providers."""


class StoppedError(OnnxplainError, RuntimeError):
    """A run was ended from outside before it was done."""


class OutputError(OnnxplainError, OSError):
    """A result cannot be written."""


class BatchWarning(UserWarning):
    """The samples of a batch influence each other's scores, so that results depend on what is passed together."""


class CacheWarning(UserWarning):
    """Prepared models on disk are not used, because others may have written them."""

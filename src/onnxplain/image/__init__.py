"""Pictures: loading, preprocessing and its way back, class names, rendering. Pillow and NumPy only."""

from onnxplain.image.geometry import Geometry
from onnxplain.image.labels import find_label, resolve_labels
from onnxplain.image.load import find_images, load_image
from onnxplain.image.model_input import ModelInput
from onnxplain.image.preprocessing import Preprocessing
from onnxplain.image.presets import PRESETS
from onnxplain.image.sources import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing

__all__ = [
    "PRESETS",
    "Geometry",
    "ModelInput",
    "Preprocessing",
    "PreprocessingLike",
    "ResolvedPreprocessing",
    "find_images",
    "find_label",
    "load_image",
    "resolve_labels",
    "resolve_preprocessing",
]

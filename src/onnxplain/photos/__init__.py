"""From photos to input tensors and back: loading, preprocessing and its geometry, class names."""

from .geometry import Geometry
from .labels import find_label, resolve_labels
from .load import find_images, load_image, load_mask
from .model_input import ModelInput
from .preprocessing import Preprocessing
from .presets import PRESETS
from .sources import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing

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
    "load_mask",
    "resolve_labels",
    "resolve_preprocessing",
]

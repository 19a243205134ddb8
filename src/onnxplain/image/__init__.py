"""Pictures: loading, preprocessing and its way back, class names, rendering. Pillow and NumPy only."""

from onnxplain.image.colormaps import COLORMAPS, colormap
from onnxplain.image.files import write_bytes
from onnxplain.image.geometry import Geometry
from onnxplain.image.labels import find_label, resolve_labels
from onnxplain.image.load import find_images, load_image
from onnxplain.image.model_input import ModelInput
from onnxplain.image.preprocessing import Preprocessing
from onnxplain.image.presets import PRESETS
from onnxplain.image.render import contrast, heatmap, overlay_image, panel, save_image
from onnxplain.image.sources import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing

__all__ = [
    "COLORMAPS",
    "PRESETS",
    "Geometry",
    "ModelInput",
    "Preprocessing",
    "PreprocessingLike",
    "ResolvedPreprocessing",
    "colormap",
    "contrast",
    "find_images",
    "find_label",
    "heatmap",
    "load_image",
    "overlay_image",
    "panel",
    "resolve_labels",
    "resolve_preprocessing",
    "save_image",
    "write_bytes",
]

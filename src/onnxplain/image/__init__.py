"""Pictures: loading, preprocessing and its way back, class names, rendering. Pillow and NumPy only."""

from onnxplain.image.bars import bars
from onnxplain.image.colormaps import COLORMAPS, colormap
from onnxplain.image.contours import contour_image, contour_segments
from onnxplain.image.figures import bars_figure
from onnxplain.image.files import write_bytes
from onnxplain.image.geometry import Geometry
from onnxplain.image.labels import find_label, resolve_labels
from onnxplain.image.load import find_images, load_image
from onnxplain.image.model_input import ModelInput
from onnxplain.image.preprocessing import Preprocessing
from onnxplain.image.presets import PRESETS
from onnxplain.image.render import contrast, heatmap, overlay_image, save_image, signed_contrast
from onnxplain.image.sheets import grid_sheet, panel
from onnxplain.image.sources import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing
from onnxplain.image.tokens import tokens_html, tokens_image

__all__ = [
    "COLORMAPS",
    "PRESETS",
    "Geometry",
    "ModelInput",
    "Preprocessing",
    "PreprocessingLike",
    "ResolvedPreprocessing",
    "bars",
    "bars_figure",
    "colormap",
    "contour_image",
    "contour_segments",
    "contrast",
    "find_images",
    "find_label",
    "grid_sheet",
    "heatmap",
    "load_image",
    "overlay_image",
    "panel",
    "resolve_labels",
    "resolve_preprocessing",
    "save_image",
    "signed_contrast",
    "tokens_html",
    "tokens_image",
    "write_bytes",
]

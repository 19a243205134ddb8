"""Pictures: loading, preprocessing and its way back, class names, rendering. Pillow and NumPy only."""

from .bars import bars
from .colormaps import COLORMAPS, colormap
from .contours import contour_image, contour_segments
from .figures import bars_figure
from .geometry import Geometry
from .labels import find_label, resolve_labels
from .load import find_images, load_image
from .model_input import ModelInput
from .preprocessing import Preprocessing
from .presets import PRESETS
from .render import contrast, heatmap, overlay_image, save_image, signed_contrast
from .sheets import grid_sheet, panel
from .sources import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing
from .tokens import tokens_html, tokens_image

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
]

"""From maps and numbers to pictures: overlays, contours, sheets, bars, coloured tokens; none knows attributions."""

from .bars import bars
from .boxes import boxes_image, outlined
from .colormaps import COLORMAPS, colormap
from .contours import contour_image, contour_segments
from .figures import bars_figure
from .options import PictureOptions
from .render import contrast, heatmap, overlay_image, save_image, signed_contrast
from .sheets import ColourBar, grid_sheet, panel
from .tokens import tokens_html, tokens_image

__all__ = [
    "COLORMAPS",
    "ColourBar",
    "PictureOptions",
    "bars",
    "bars_figure",
    "boxes_image",
    "colormap",
    "contour_image",
    "contour_segments",
    "contrast",
    "grid_sheet",
    "heatmap",
    "outlined",
    "overlay_image",
    "panel",
    "save_image",
    "signed_contrast",
    "tokens_html",
    "tokens_image",
]

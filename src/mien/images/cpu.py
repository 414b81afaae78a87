"""The operations on pixels that the rest of the program calls, on the CPU (OpenCV).

Coordinates are corner-origin, affines (2, 3) float64, sizes (width, height), R'G'B' float32 (h, w, 3).
"""

from mien.images.cpu_crop import crop, glance, reduced, thumbnail
from mien.images.cpu_draw import (
    blur,
    blurs,
    equalised,
    fill_polygons,
    from_lab,
    interpolated,
    luma,
    medians,
    resizes,
    to_lab,
)
from mien.images.cpu_flow import flow
from mien.images.cpu_paste import paste
from mien.images.cpu_warp import remap, resize, warp

__all__ = [
    "blur",
    "blurs",
    "crop",
    "equalised",
    "fill_polygons",
    "flow",
    "from_lab",
    "glance",
    "interpolated",
    "luma",
    "medians",
    "paste",
    "reduced",
    "remap",
    "resize",
    "resizes",
    "thumbnail",
    "to_lab",
    "warp",
]

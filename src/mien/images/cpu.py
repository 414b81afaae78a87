"""The operations on pixels that the rest of the program calls, on the CPU (OpenCV).

Coordinates are corner-origin, affines (2, 3) float64, sizes (width, height), R'G'B' float32 (h, w, 3).
"""

from mien.images.cpu_crop import crop, glance, reduced, thumbnail
from mien.images.cpu_draw import blur, equalised, fill_polygons, from_lab, luma, to_lab
from mien.images.cpu_paste import paste
from mien.images.cpu_warp import remap, resize, warp

__all__ = [
    "blur",
    "crop",
    "equalised",
    "fill_polygons",
    "from_lab",
    "glance",
    "luma",
    "paste",
    "reduced",
    "remap",
    "resize",
    "thumbnail",
    "to_lab",
    "warp",
]

"""The operations on pixels that the rest of the program calls, over torch tensors on any device.

The same names and meanings as in `images.cpu`; the plural of a name does the same for a batch. Matrices,
points and sizes are NumPy's and stay on the CPU. Work is queued on the current stream and not waited for.
"""

from mien.images.gpu_arrays import host, like, to_device, to_host, upload
from mien.images.gpu_crop import crop, crops, glance, glances, reduced, thumbnail
from mien.images.gpu_draw import (
    blur,
    blurs,
    fill_polygons,
    from_lab,
    interpolated,
    luma,
    medians,
    to_lab,
)
from mien.images.gpu_equalise import equalised
from mien.images.gpu_paste import paste, pastes
from mien.images.gpu_resize import resize, resizes
from mien.images.gpu_warp import remap, remaps, warp, warps

__all__ = [
    "blur",
    "blurs",
    "crop",
    "crops",
    "equalised",
    "fill_polygons",
    "from_lab",
    "glance",
    "glances",
    "host",
    "interpolated",
    "like",
    "luma",
    "medians",
    "paste",
    "pastes",
    "reduced",
    "remap",
    "remaps",
    "resize",
    "resizes",
    "thumbnail",
    "to_device",
    "to_host",
    "to_lab",
    "upload",
    "warp",
    "warps",
]

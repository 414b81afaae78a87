"""A TIFF writer for 8- and 16-bit gray, RGB and RGBA (TIFF 6.0, with the Deflate and predictor supplements).

Pillow writes no 16-bit colour, and PyAV knows no ICC, EXIF or XMP. Strips of about 1 MiB bound the memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mien.types import Array

_STRIP = 1 << 20
_LONG = 4
_OFFSETS, _COUNTS = 273, 279


def write(file: IO[bytes], pixels: Array, tags: Mapping[int, Any], *, packed: bool = True) -> None:
    """A whole TIFF file, losslessly.

    Args:
        file: Where to, seekable, at its beginning.
        pixels: (H, W) or (H, W, 3 or 4) uint8 or uint16; gray, R'G'B' or R'G'B'A with straight alpha.
        tags: Further tags of the main directory; a dict is a directory of its own.
        packed: Deflate with horizontal differences; else the samples as they are.
    """
    height, width = pixels.shape[:2]
    parts = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = min(height, max(1, _STRIP // (width * parts * pixels.dtype.itemsize)))
    count = -(-height // rows)
    own = {
        256: width,
        257: height,
        258: (8 * pixels.dtype.itemsize,) * parts,
        259: 8 if packed else 1,
        262: 1 if parts == 1 else 2,
        277: parts,
        278: rows,
        284: 1,
    }
    if parts == 4:
        own[338] = 2  # straight alpha
    if packed:
        own[317] = 2
    ifd = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in (*tags.items(), *own.items()):
        ifd[tag] = value
    for tag in (_OFFSETS, _COUNTS):
        ifd.tagtype[tag] = _LONG  # of one size whatever the values, since it is written twice
        ifd[tag] = (0,) * count
    file.seek(0)
    ifd.save(file)
    sizes = [file.write(strip) for strip in _strips(pixels, rows, packed)]
    # Pillow adds the end of the directory, which is where the strips begin.
    ifd[_OFFSETS] = tuple(int(n) for n in np.cumsum([0, *sizes[:-1]]))
    ifd[_COUNTS] = tuple(sizes)
    file.seek(0)
    ifd.save(file)
    file.seek(0, 2)


def _strips(pixels: Array, rows: int, packed: bool) -> Iterator[bytes]:
    order = np.dtype(pixels.dtype).newbyteorder("<")
    for top in range(0, pixels.shape[0], rows):
        strip = np.array(pixels[top : top + rows], order)
        if packed:
            # Differences to the left neighbour, modulo the sample's range (TIFF 6.0, section 14).
            strip[:, 1:] -= pixels[top : top + rows, :-1]
            yield zlib.compress(strip.tobytes(), 4)
        else:
            yield strip.tobytes()

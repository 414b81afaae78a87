"""Still pictures: PNG, JPEG, WebP, TIFF, AVIF and BMP, in and out, with everything they say about themselves.

Pixels are never rotated: the EXIF orientation becomes the frame's `display` affine and the tag is kept.
Eight-bit pictures go through Pillow; 16-bit colour is read by PyAV and written by `png` and `tiff`, because
Pillow would cut it to 8 bits. ICC, EXIF (without its thumbnail, which would show the old face), XMP,
resolution and PNG's colour tags and texts are kept.

Memory: the decoded picture once in its decoder (4 bytes a pixel in Pillow, the frame's own size in PyAV) and
once as the frame; a 100-megapixel 8-bit photo takes 0.7 GB. Pictures over `MAX_PIXELS` are refused.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, cast

import av
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mien.errors import MediaError
from mien.media import exif as exif_block
from mien.media import png
from mien.media.image_write import write_image
from mien.media.picture import (
    GRAY,
    GRAY16,
    MAX_PIXELS,
    RGB24,
    RGB48,
    RGBA,
    RGBA64,
    ImageInfo,
    damaged,
    no_picture,
    strips,
    too_large,
)
from mien.media.sequence import Format, format_of
from mien.types import Array, Colour, Frame, Layout

__all__ = ["ImageInfo", "read_image", "write_image"]

_READERS: Final[dict[str, Any]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
}
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)
_COLOUR = Colour(matrix="rgb", full_range=True)
_UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Undoes what Pillow does to a TIFF of each orientation while it loads."""


def read_image(path: Path) -> tuple[Frame, ImageInfo]:
    """A still picture as a frame of one packed plane, writable, and what else the file says.

    Layouts: gray, gray16le, rgb24, rgba, rgb48le, rgba64le. Palettes, bilevel and gray with alpha become
    RGB(A) or gray of the same values; CMYK becomes sRGB through its ICC profile.

    Raises:
        MediaError: Empty, no picture, cut off, damaged, too large or of an unsupported kind.
    """
    form = format_of(path)
    if form is None or form == "gif":
        raise no_picture(path, form)
    try:
        with path.open("rb") as file:
            return _read(path, file, form)
    except Image.DecompressionBombError as error:
        raise too_large(path) from error
    except av.FFmpegError as error:
        raise MediaError(
            path, f"is damaged or of an unsupported kind: {error.strerror}", _SAVE_AGAIN
        ) from error
    except _DAMAGE as error:
        raise damaged(path, form, error) from error


_SAVE_AGAIN: Final = "Save it again as PNG with another program."


def _read(path: Path, file: IO[bytes], form: Format) -> tuple[Frame, ImageInfo]:
    with _READERS[form](file) as image:  # not Image.open: it tries every format, and judges the name
        if image.width * image.height > MAX_PIXELS:
            raise too_large(path)
        info = _info(image, file, form)
        if _has_16_bit_colour(image, file, form):
            pixels = _decode_16(path, image, file, form)
        else:
            pixels, info = _decode_8(path, image, info)
    layout = _layout(pixels)
    display = exif_block.display(info.orientation, pixels.shape[1], pixels.shape[0])
    return Frame((pixels,), layout, _COLOUR, 0, 0, display), info


def _info(image: ImageFile.ImageFile, file: IO[bytes], form: Format) -> ImageInfo:
    """Everything but the pixels. Before loading: Pillow forgets a TIFF's orientation while it loads."""
    facts = image.info
    block = exif_block.from_tags(image.getexif()) if form == "tiff" else _exif(image)
    dpi = tuple(float(d) for d in facts.get("dpi", ()))
    xmp = facts.get("xmp", b"")
    info = ImageInfo(
        form,
        icc=facts.get("icc_profile") or b"",
        exif=block,
        xmp=xmp.encode() if isinstance(xmp, str) else bytes(xmp),
        dpi=(dpi[0], dpi[1]) if len(dpi) == 2 and min(dpi) > 0 else None,
        orientation=exif_block.orientation(block),
    )
    notes: list[str] = []
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if "mpoffset" in facts:
            notes.append("further pictures in the file (depth, gain map, stereo) are not kept")
        comment = facts.get("comment", b"")
        info = replace(
            info,
            comment=comment if isinstance(comment, bytes) else str(comment).encode(),
            tables=tuple(tuple(image.quantization[k]) for k in sorted(image.quantization)),
            subsampling=JpegImagePlugin.get_sampling(image),
            progressive=bool(facts.get("progressive")),
        )
    elif form == "png":
        info = replace(info, chunks=png.carried(file))
    elif form == "webp":
        info = replace(info, lossless=_is_lossless_webp(file))
    elif form == "tiff":
        info = replace(info, packed=facts.get("compression", "raw") != "raw")
    elif form == "avif" and _is_deep_avif(file):
        notes.append("its 10 or 12 bits a sample are read as 8")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"only the first {'page' if form == 'tiff' else 'frame'} is kept")
    return replace(info, notes=tuple(notes))


def _exif(image: ImageFile.ImageFile) -> bytes:
    """The raw block; Pillow's rendering where a PNG hides it in a text chunk."""
    block = image.info.get("exif")
    if block is None and image.format == "PNG":
        parsed = image.getexif()
        block = parsed.tobytes() if len(parsed) else None
    return exif_block.clean(block) if block else b""


def _has_16_bit_colour(image: ImageFile.ImageFile, file: IO[bytes], form: Format) -> bool:
    """Whether Pillow would cut the samples to 8 bits: 16-bit RGB, RGBA, or gray with alpha."""
    if form == "png":
        file.seek(24)
        depth, colour = file.read(2)
        return depth == 16 and (colour != 0 or "transparency" in image.info)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(258, (1,))
        return max(bits) == 16 and len(bits) in {2, 3, 4} and image.tag_v2.get(262) in {1, 2}
    return False


def _decode_16(path: Path, image: ImageFile.ImageFile, file: IO[bytes], form: Format) -> Array:
    """Samples of a 16-bit colour picture, exactly: (H, W, 3 or 4) uint16."""
    # FFmpeg would fill in what is missing or damaged and say nothing; so the data is checked first.
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.get(338) == (1,):
            raise MediaError(path, "has premultiplied 16-bit alpha, which is not supported", _SAVE_AGAIN)
        _load(image)
    else:
        for _ in png.chunks(file):
            pass
    file.seek(0)
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(form, "r"))
    if form == "png":
        decoder.options = {"err_detect": "explode"}  # in a TIFF it would refuse unknown tags
    frames = [f for packet in (av.Packet(file.read()), None) for f in decoder.decode(packet)]
    if not frames:
        raise EOFError("no picture in it")
    return _samples(path, frames[0])


def _samples(path: Path, frame: av.VideoFrame) -> Array:
    """Packed little-endian copy of a decoded 16-bit frame."""
    name, height, width = frame.format.name, frame.height, frame.width
    parts = {"rgb48": 3, "rgba64": 4, "ya16": 2, "gray16": 1}.get(name[:-2])
    if parts is None or name[-2:] not in {"le", "be"}:
        raise MediaError(path, f"is stored in a way that is not supported ({name})", _SAVE_AGAIN)
    plane = frame.planes[0]
    order = np.dtype("<u2" if name.endswith("le") else ">u2")
    rows: Array = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    stored: Array = rows[:height, : 2 * parts * width].view(order).reshape(height, width, parts)
    if parts == 1:
        return stored[..., 0].astype(np.uint16)
    if parts == 2:
        stored = stored[..., [0, 0, 0, 1]]
    return stored.astype(np.uint16)


def _load(image: ImageFile.ImageFile) -> None:
    """Decode; without Pillow's warning about large TIFFs, whose limit is `MAX_PIXELS` here."""
    if image.width * image.height <= (Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
        image.load()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()


def _decode_8(path: Path, image: ImageFile.ImageFile, info: ImageInfo) -> tuple[Array, ImageInfo]:
    """Samples of everything Pillow reads exactly, and the info that fits them."""
    inverted = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
    _load(image)
    picture: Image.Image = image
    if info.format == "tiff" and info.orientation > 1:
        picture = image.transpose(_UNTURN[info.orientation])
    if picture.mode == "CMYK":
        picture, note = _from_cmyk(picture, info.icc)
        info = replace(info, icc=b"", tables=(), subsampling=-1, notes=(*info.notes, note))
    target = _mode(path, picture)
    pixels = _from_pillow(picture, target)
    if inverted and target == "I;16":  # Pillow turns white-is-zero round in 8 bits only
        np.subtract(65535, pixels, out=pixels)
    return pixels, info


def _mode(path: Path, picture: Image.Image) -> str:
    """Pillow's mode that holds the picture's values without loss."""
    if picture.mode.startswith("I;16"):
        return "I;16"
    if picture.has_transparency_data:
        return "RGBA"
    if picture.mode in {"1", "L"}:
        return "L"
    if picture.mode in {"P", "RGB", "RGBX", "YCbCr"}:
        return "RGB"
    raise MediaError(path, f"has samples of a kind that is not supported ({picture.mode})", _SAVE_AGAIN)


def _from_pillow(picture: Image.Image, mode: str) -> Array:
    """Copy out strip by strip, so that no third copy of the picture is ever made."""
    width, height = picture.size
    shape = (height, width) if mode in {"L", "I;16"} else (height, width, len(mode))
    pixels = np.empty(shape, np.uint16 if mode == "I;16" else np.uint8)
    for top, bottom in strips(height, width):
        strip = picture.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(strip if mode in {"I;16", strip.mode} else strip.convert(mode))
    return pixels


def _from_cmyk(picture: Image.Image, icc: bytes) -> tuple[Image.Image, str]:
    """To sRGB through the picture's own profile, by plain subtraction where it has none that works."""
    if icc:
        try:
            turned = ImageCms.profileToProfile(
                picture,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            if turned is not None:
                return turned, "its CMYK colours are converted to sRGB through its ICC profile"
        except (ImageCms.PyCMSError, OSError):
            pass
    return picture.convert("RGB"), "its CMYK colours are converted to RGB without a profile"


def _layout(pixels: Array) -> Layout:
    parts = 1 if pixels.ndim == 2 else pixels.shape[2]
    eight, sixteen = {1: (GRAY, GRAY16), 3: (RGB24, RGB48), 4: (RGBA, RGBA64)}[parts]
    return eight if pixels.dtype == np.uint8 else sixteen


def _is_lossless_webp(file: IO[bytes]) -> bool:
    """Whether the (first) picture is in a VP8L chunk (RFC 9649, 2.6)."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name in {b"VP8 ", b"VP8L"}:
            return bool(name == b"VP8L")
        file.seek(length + length % 2, 1)
    return False


def _is_deep_avif(file: IO[bytes]) -> bool:
    """Whether the AV1 configuration says more than 8 bits (AV1 in ISOBMFF, 2.3.3)."""
    file.seek(0)
    head = file.read(1 << 14)
    at = head.find(b"av1C")
    return at >= 0 and len(head) > at + 6 and bool(head[at + 6] & 0x40)

"""Encoders and containers: which one, and what our quality and presets mean to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from types import MappingProxyType

import av
import numpy as np
from av.codec import Codec

from mien.media.facts import Hdr
from mien.settings import Encode

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "h264": "libx264",
        "hevc": "libx265",
        "av1": "libsvtav1",
        "vp9": "libvpx-vp9",
        "vp8": "libvpx",
        "prores": "prores_ks",
        "ffv1": "ffv1",
        "mjpeg": "mjpeg",
        "png": "png",
        "qtrle": "qtrle",
    }
)
"""Codec family, by FFmpeg's canonical name, to its encoder."""

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".mp4": "mp4",
        ".m4v": "mp4",
        ".mov": "mov",
        ".3gp": "3gp",
        ".mkv": "matroska",
        ".webm": "webm",
        ".avi": "avi",
        ".ts": "mpegts",
        ".m2ts": "mpegts",
        ".mts": "mpegts",
        ".flv": "flv",
    }
)
"""File name ending to container format."""

PLACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"prores": (".mov", ".mkv"), "mjpeg": (".mov", ".mkv"), "ffv1": (".mkv", ".mov")}
)
"""Codecs that few programs look for in other files, and the endings where they do, the usual one first."""
BOXED = frozenset({"mp4", "mov", "3gp"})
"""Containers of the ISO base media family: any time base, edit lists, display matrix."""
INTRA = frozenset({"prores_ks", "ffv1", "mjpeg", "png", "qtrle"})
LOSSLESS = frozenset({"rawvideo", "utvideo", "huffyuv", "ffvhuff", "magicyuv", "v210", "v410", "r210"})
"""Input codecs without loss whose place FFV1 takes."""
EVEN = frozenset({"libx264", "libx265", "libsvtav1", "libvpx"})
"""Encoders that need whole chroma samples: an odd side of a 4:2:0 picture has to be padded."""

_X264 = {
    "fastest": "superfast",
    "fast": "veryfast",
    "balanced": "medium",
    "slow": "slow",
    "slowest": "veryslow",
}
_X265 = {"fastest": "ultrafast", "fast": "superfast", "balanced": "fast", "slow": "medium", "slowest": "slow"}
_SVT = {"fastest": "12", "fast": "10", "balanced": "8", "slow": "6", "slowest": "4"}
_VPX = {"fastest": "6", "fast": "5", "balanced": "4", "slow": "2", "slowest": "1"}
_PRORES_PROFILES = (("proxy", 25), ("lt", 50), ("standard", 75), ("hq", 101))


@dataclass(frozen=True, slots=True)
class Recipe:
    """Encoder options that come from quality, preset and side data."""

    options: Mapping[str, str]
    qscale: int = 0
    """Fixed quantiser for encoders that have nothing else; 0: none."""


def rate_factor(quality: int, at_85: float, worst: float) -> float:
    """Rate factor: 0 → `worst`, 85 → `at_85`, falling towards 1 at 99."""
    if quality <= 85:
        return at_85 + (85 - quality) * (worst - at_85) / 85
    return max(1.0, at_85 * (100 - quality) / 15)


def recipe(encoder: str, encode: Encode, threads: int, hdr: Hdr, *, chroma: str, alpha: bool) -> Recipe:
    """Options of an encoder.

    Args:
        encoder: FFmpeg's encoder name.
        encode: Quality, preset and bit rate.
        threads: Fixed number of threads, as some encoders take it in their own options.
        hdr: HDR side data to carry.
        chroma: "420", "422", "444" or "".
        alpha: Whether the picture has an alpha plane.
    """
    lossless = encode.quality == 100 and not encode.bitrate
    if encoder in ("libx264", "libx264rgb"):
        return _x264(encode, hdr, lossless)
    if encoder == "libx265":
        return _x265(encode, threads, hdr, lossless)
    if encoder == "libsvtav1":
        return _svt(encode, threads, hdr)
    if encoder in ("libvpx-vp9", "libvpx"):
        return _vpx(encoder, encode, lossless, alpha)
    if encoder == "prores_ks":
        if chroma == "444" or alpha:
            name = "4444xq" if encode.quality >= 95 else "4444"
        else:
            name = next(name for name, limit in _PRORES_PROFILES if encode.quality < limit)
        return Recipe({"profile": name, "vendor": "apl0", "alpha_bits": "16" if alpha else "0"})
    if encoder == "ffv1":
        return Recipe({"level": "3", "slicecrc": "1", "coder": "range_tab"})
    if encoder == "mjpeg":
        return Recipe(
            {"huffman": "optimal", "strict": "unofficial"},
            qscale=1 if lossless else round(rate_factor(encode.quality, 2, 31)) or 1,
        )
    return Recipe({})


def _rate(encode: Encode, crf: str) -> dict[str, str]:
    if encode.bitrate:
        return {"maxrate": str(encode.bitrate * 3 // 2), "bufsize": str(encode.bitrate * 2)}
    return {"crf": crf}


def _x264(encode: Encode, hdr: Hdr, lossless: bool) -> Recipe:
    parts = ["open-gop=0", "stitchable=1"]
    if _avx512():
        # x264's AVX-512 code of its macroblock tree reads memory that nobody wrote: the bytes then depend on
        # what the process did before, and a continued job would differ from an undisturbed one.
        parts.append("asm=avx2")
    if hdr.mastering:
        parts.append(f"mastering-display={hdr.x265()}")
    if hdr.light:
        parts.append(f"cll={hdr.light[0]},{hdr.light[1]}")
    rate = {"qp": "0"} if lossless else _rate(encode, f"{rate_factor(encode.quality, 17, 51):.2f}")
    return Recipe({"preset": _X264[encode.preset], "x264-params": ":".join(parts), **rate})


@lru_cache(maxsize=1)
def _avx512() -> bool:
    """Whether this processor has AVX-512 (and so AVX2), as far as NumPy tells."""
    core = getattr(np, "_core", None)
    features = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    return bool(features.get("AVX512F", False))


def _x265(encode: Encode, threads: int, hdr: Hdr, lossless: bool) -> Recipe:
    frames = 1 if threads < 2 else min(4, threads // 2 + 1)
    parts = ["open-gop=0", "log-level=none", f"pools={threads}", f"frame-threads={frames}"]
    if hdr.mastering:
        parts.append(f"master-display={hdr.x265()}")
    if hdr.light:
        parts.append(f"max-cll={hdr.light[0]},{hdr.light[1]}")
    if lossless:
        parts.append("lossless=1")
    rate = {} if lossless else _rate(encode, f"{rate_factor(encode.quality, 18, 51):.2f}")
    return Recipe({"preset": _X265[encode.preset], "x265-params": ":".join(parts), **rate})


def _svt(encode: Encode, threads: int, hdr: Hdr) -> Recipe:
    parts = [f"lp={min(threads, 6)}"]
    if hdr.mastering:
        parts.append(f"mastering-display={hdr.svt()}")
    if hdr.light:
        parts.append(f"content-light={hdr.light[0]},{hdr.light[1]}")
    rate = {} if encode.bitrate else {"crf": str(round(rate_factor(encode.quality, 20, 63)))}
    return Recipe({"preset": _SVT[encode.preset], "svtav1-params": ":".join(parts), **rate})


def _vpx(encoder: str, encode: Encode, lossless: bool, alpha: bool) -> Recipe:
    options = {"deadline": "good", "cpu-used": _VPX[encode.preset]}
    if encoder == "libvpx-vp9":
        options["row-mt"] = "1"
        if lossless:
            options["lossless"] = "1"
    if alpha:
        options["auto-alt-ref"] = "0"
    if not encode.bitrate and not lossless:
        options["crf"] = str(round(rate_factor(encode.quality, 20, 63)))
        if encoder == "libvpx":
            options["b"] = "100000000"  # VP8 has no constant quality without a ceiling
    return Recipe(options)


@lru_cache(maxsize=64)
def supported(container: str) -> frozenset[str]:
    """Names of all encoders and decoders whose codec a container holds; empty where it is unknown."""
    try:
        with av.open(BytesIO(), "w", format=container) as made:
            return frozenset(made.supported_codecs)
    except (ValueError, av.FFmpegError):
        return frozenset()


@lru_cache(maxsize=64)
def pixel_formats(encoder: str) -> tuple[str, ...]:
    """Pixel formats an encoder takes, in its order of preference; () where it takes all."""
    names = tuple(form.name for form in Codec(encoder, "w").video_formats or ())
    return tuple(name for name in names if encoder != "libx265" or not name.startswith("yuva"))


def exists(encoder: str) -> bool:
    """Whether this build of FFmpeg has the encoder."""
    try:
        Codec(encoder, "w")
    except ValueError:
        return False
    return True


def holds(container: str, encoder: str) -> bool:
    """Whether a container takes what an encoder makes."""
    if container == "mov" and encoder in ("libsvtav1", "libvpx-vp9", "libvpx"):
        return False  # listed, but refused when the header is written
    if container == "avi":  # others have no exact times there: readers guess the reordering
        return encoder in ("mjpeg", "ffv1", "png")
    if container == "mpegts":  # it has no list of its own
        return encoder in ("libx264", "libx265")
    return encoder in supported(container)


WELL_KEPT = (".mp4", ".mov", ".mkv", ".webm", ".m4v")
"""Endings of files that are proposed where the codec is free."""


@lru_cache(maxsize=16)
def endings(codec: str) -> tuple[str, ...]:
    """File name endings of what holds a codec, the one that programs expect first.

    Args:
        codec: A family, or `auto`: then the ending decides, and those are left out that hold old codecs
            only, or no word on how a file was made.
    """
    if codec == "auto":
        return WELL_KEPT
    encoder = FAMILIES[codec]
    return tuple(name for name in PLACES.get(codec, FORMATS) if holds(FORMATS[name], encoder))


def fitting(suffix: str, codec: str) -> str:
    """A file name's ending, or the usual one of a codec that it does not hold.

    Args:
        suffix: In small letters.
        codec: As in `endings`.
    """
    fits = endings(codec)
    return suffix if suffix in fits else fits[0]

"""Encoding by a card's video engine (NVENC), through FFmpeg: what a plan becomes there, and whether it works.

cq is the target of constant-quality VBR; where the result is joined from segments, each is encoded with the
same parameters. What cq a `quality` gets was not yet compared with the processor's encoders on a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from types import MappingProxyType

import av
import numpy as np

from mien.media import codecs
from mien.media.clip import Clip
from mien.media.encode import encoder, picture_of
from mien.media.hardware import heard, listening, reason
from mien.media.layouts import LAYOUTS, nearest
from mien.media.outgoing import Outgoing
from mien.media.plan import EncodePlan
from mien.settings import Encode
from mien.types import Frame

ENCODERS: Mapping[str, str] = MappingProxyType(
    {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "av1": "av1_nvenc"}
)
"""Codec family to the card's encoder."""

_PRESETS: Mapping[str, str] = MappingProxyType(
    {"fastest": "p1", "fast": "p3", "balanced": "p4", "slow": "p6", "slowest": "p7"}
)
_CQ: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"h264_nvenc": (18.0, 51.0), "hevc_nvenc": (19.0, 51.0), "av1_nvenc": (24.0, 63.0)}
)
"""Encoder to its cq at quality 85, and its worst; FFmpeg takes 1 to 51, for AV1 to 63."""


def unsuited(made: EncodePlan, clip: Clip, encode: Encode) -> str:
    """Why a plan for the processor has no equal on a card; empty where it has.

    A card's encoder must keep every bit, all colour and all side data that the processor's keeps.
    """
    layout = nearest(made.pix_fmt)
    if made.family not in ENCODERS:
        return f"cards have no encoder for {made.family}"
    if layout.model != "yuv" or layout.chroma != (1, 1) or layout.alpha or layout.depth not in (8, 10):
        return f"cards are not asked for {made.pix_fmt}"
    if clip.hdr.mastering or clip.hdr.light:
        return "cards do not surely write what the input says about its mastering display"
    if encode.quality == 100 and not encode.bitrate:
        return "cards do not surely encode without loss (quality 100)"
    return ""


def on_card(made: EncodePlan, clip: Clip, encode: Encode, card: int, device: str = "") -> EncodePlan:
    """The plan that writes the same with a card's encoder.

    Args:
        made: A plan for the processor that is not `unsuited`.
        clip: From `probe`.
        encode: The settings.
        card: CUDA's number of the card.
        device: Where frames lie that come from the pipeline, as torch names it; empty: in host memory.
    """
    name, depth = ENCODERS[made.family], nearest(made.pix_fmt).depth
    # What is to be scaled or padded is brought down for it.
    stays = bool(device) and (made.width, made.height) == made.picture == (clip.width, clip.height)
    planar = "yuv420p" if depth == 8 else "p010le"
    semiplanar = "nv12" if depth == 8 else "p010le"
    return replace(
        made,
        encoder=name,
        pix_fmt=semiplanar if stays else planar,
        options=_options(name, encode, card),
        qscale=0,
        segment_format="mp4",
        card=card,
        device=device if stays else "",
    )


def _options(name: str, encode: Encode, card: int) -> dict[str, str]:
    """FFmpeg's options of an encoder."""
    options = {
        "preset": _PRESETS[encode.preset],
        "tune": "hq",
        "rc": "vbr",
        "forced-idr": "1",
        "gpu": str(card),
    }
    if encode.bitrate:
        return {**options, "maxrate": str(encode.bitrate * 3 // 2), "bufsize": str(encode.bitrate * 2)}
    at_85, worst = _CQ[name]
    return {**options, "cq": f"{codecs.rate_factor(encode.quality, at_85, worst):.2f}", "b": "0"}


def refusal(made: EncodePlan, clip: Clip) -> str:
    """Why the card's encoder does not do what a plan asks; empty where it does.

    Asked by encoding one grey picture of the plan's own size and options: what a card has shows only there.

    Args:
        made: From `on_card`.
        clip: The clip that it is for.
    """
    layout = LAYOUTS[clip.layout_name]
    shapes = [layout.plane_shape(k, clip.width, clip.height) for k in range(len(layout.planes))]
    planes = tuple(np.full(shape, 1 << (layout.depth - 1), layout.dtype) for shape in shapes)
    grey = Frame(planes, layout, made.colour, 0, 0, clip.display)
    with listening() as said:
        try:
            landing = Outgoing(made, layout, 1)(grey)
            with av.open(BytesIO(), "w", format="matroska") as container:
                picture = picture_of(landing.frame(), made)
                stream = encoder(container, made, picture.format.name)
                picture.pts, picture.time_base = 0, made.time_base
                packets = [*stream.encode(picture), *stream.encode(None)]
        except (OSError, ValueError, RuntimeError) as error:
            return heard(said) or reason(error)
    return "" if packets else "it gives nothing"

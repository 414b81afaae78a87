"""Decoding by a card's video engine (NVDEC), through FFmpeg: pictures of a demuxed stream, or why not.

Whatever it cannot do, or does otherwise than the processor would, ends as a `RefusedError`; `decode.frames`
then goes on with the processor.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel, HWConfig, HWDeviceType
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from mien.media.clip import Clip
from mien.media.hardware import RefusedError, VideoEngine, reason

_FORMS = {8: ("nv12",), 10: ("p010le", "p016le"), 12: ("p016le",)}
"""Bits of a sample to what engines keep pictures as; those that PyAV hands on."""


def unsuited(clip: Clip) -> str:
    """Why no engine of a card is asked to decode a clip; empty where one is."""
    layout = clip.layout
    if not any(c.is_supported and c.device_type == HWDeviceType.cuda for c in _configs(clip.codec)):
        return f"no card decodes {clip.codec}"
    if layout.model != "yuv" or layout.chroma != (1, 1) or layout.alpha or layout.depth not in _FORMS:
        return f"no card hands on pictures of {clip.pix_fmt}"
    if clip.width % 2 or clip.height % 2:
        return f"its sides are odd ({clip.width}x{clip.height})"
    return ""


def _configs(codec: str) -> tuple[HWConfig, ...]:
    """How FFmpeg's own decoder of a codec works with hardware."""
    try:
        return tuple(Codec(codec, "r").hardware_configs)
    except ValueError:
        return ()


def decoder(clip: Clip, stream: VideoStream, engine: VideoEngine) -> VideoCodecContext:
    """An engine's decoder for a stream, not opened yet.

    FFmpeg's decoder by the codec's own name, since for AV1 another one, which knows no hardware, comes first.

    Raises:
        FFmpegError: The driver is absent or refuses.
    """
    accel = HWAccel(
        "cuda",
        device=str(engine.card),
        allow_software_fallback=False,
        is_hw_owned=bool(engine.device),
        options={"primary_ctx": "0", "current_ctx": "1"} if engine.device else None,
    )
    if engine.device:
        from mien.media import surfaces

        surfaces.current(engine.device)
    made = av.CodecContext.create(clip.codec, "r", hwaccel=accel)
    if not made.is_hwaccel or not isinstance(made, VideoCodecContext):
        raise RefusedError(f"no card decodes {clip.codec}")
    made.thread_count = 1
    made.extradata = stream.codec_context.extradata
    made.reorder_depth = stream.codec_context.reorder_depth
    return made


def pictures(
    container: InputContainer, stream: VideoStream, clip: Clip, engine: VideoEngine
) -> Iterator[av.VideoFrame]:
    """Everything from where the container stands, in presentation order.

    Yields:
        Pictures on the card where the engine has a device, else in host memory.

    Raises:
        RefusedError: Something cannot be decoded, or comes otherwise than the clip is.
    """
    try:
        made = decoder(clip, stream, engine)
        for packet in container.demux(stream):
            for picture in made.decode(packet if packet.size else None):
                _check(picture, clip, engine)
                yield picture
            if not packet.size:
                return
        for picture in made.decode(None):
            _check(picture, clip, engine)
            yield picture
    except (OSError, ValueError, RuntimeError) as error:  # FFmpegError is one of the first two
        raise RefusedError(reason(error)) from error


def _check(picture: av.VideoFrame, clip: Clip, engine: VideoEngine) -> None:
    """See that a picture is what the clip was probed to have.

    Raises:
        RefusedError: It is not.
    """
    on_card = picture.sw_format is not None
    form = picture.sw_format.name if picture.sw_format is not None else picture.format.name
    if engine.device.startswith("cuda") and not on_card:
        raise RefusedError("its pictures do not stay on the card")
    if engine.device and form not in _FORMS[clip.layout.depth]:
        raise RefusedError(f"it gives {form}")
    if (picture.width, picture.height) != (clip.width, clip.height):
        raise RefusedError(f"it gives {picture.width}x{picture.height}")

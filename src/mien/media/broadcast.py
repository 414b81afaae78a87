"""Live output: recordings, streams and virtual cameras.

with opened("udp://127.0.0.1:9000", Encode(), size, rate) as out:
    out.picture(frame)
    out.sound(sound)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import ThreadType
from av.video.frame import PictureType
from av.video.stream import VideoStream

from mien.errors import MediaError, RuntimeUnavailable, SettingsError
from mien.media import codecs
from mien.media.camera import RATE, TICKS, Sound
from mien.media.decode import THREADS, views
from mien.media.facts import Hdr
from mien.media.failure import media_error
from mien.settings import Encode
from mien.types import Colour, Float32, Frame

KEY = 2.0
"""Seconds between two key frames: who joins a stream waits for one."""
_OPEN, _WRITE = 10.0, 5.0
"""Seconds that a connection may take to open, and to take something."""
_STREAMS: Mapping[str, str] = {
    "rtmp": "flv",
    "rtmps": "flv",
    "srt": "mpegts",
    "udp": "mpegts",
    "tcp": "mpegts",
    "rtp": "rtp_mpegts",
    "rtsp": "rtsp",
    "http": "mpegts",
    "https": "mpegts",
}
"""Scheme of an address to FFmpeg's container format."""
_CODECS: Mapping[str, str] = {"auto": "libx264", "h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
_PRESETS: Mapping[str, str] = {
    "fastest": "ultrafast",
    "fast": "superfast",
    "balanced": "veryfast",
    "slow": "faster",
    "slowest": "fast",
}
"""What our presets mean to x264 and x265 where every frame must be done in time."""
_VPX: Mapping[str, str] = {"fastest": "9", "fast": "8", "balanced": "7", "slow": "6", "slowest": "5"}
_SOUND: Mapping[str, str] = {"webm": "libopus"}


class Output(Protocol):
    """Something that takes pictures and sounds as they are made."""

    name: str
    """What people call it."""

    def picture(self, frame: Frame) -> None:
        """Take a picture; its planes may be read until this returns."""

    def sound(self, sound: Sound) -> None:
        """Take a piece of sound."""

    def close(self) -> None:
        """There is no more; finish what was begun."""


def opened(
    target: str,
    encode: Encode,
    size: tuple[int, int],
    rate: Fraction,
    *,
    sound: bool = False,
    metadata: Mapping[str, str] | None = None,
    sar: Fraction = Fraction(1),
) -> Output:
    """An output by its name.

    Args:
        target: `virtual` or `virtual:NAME` for a virtual camera, the address of a stream ("rtmp://...",
            "udp://..."), an HLS playlist ("live.m3u8") or a file.
        encode: Codec, quality, preset and bit rate.
        size: Coded width and height of the frames.
        rate: About how many there are a second.
        sound: Whether there will be sound.
        metadata: Tags to write.
        sar: Width of a sample over its height.

    Raises:
        MediaError: It cannot be opened.
        RuntimeUnavailable: Something that it needs is not installed.
        SettingsError: A codec that cannot be used live.
    """
    if target == "virtual" or target.startswith("virtual:"):
        return Virtual(target.partition(":")[2], size, rate)
    return Muxed(target, encode, size, rate, sound=sound, metadata=metadata or {}, sar=sar)


class Muxed:
    """A file or stream, encoded without looking ahead.

    Every frame keeps its own time. A file grows under a name of its own and is renamed when it is finished;
    what was written remains readable if the process is killed (Matroska, MPEG-TS) or up to the last
    fragment (MP4).

    Args: see `opened`.
    """

    def __init__(
        self,
        target: str,
        encode: Encode,
        size: tuple[int, int],
        rate: Fraction,
        *,
        sound: bool,
        metadata: Mapping[str, str],
        sar: Fraction = Fraction(1),
    ) -> None:
        self.name = target
        self._form, self._url, self._path = _target(target)
        self._part = (
            self._path.with_name(f"{self._path.stem}.part{self._path.suffix}") if self._path else None
        )
        self._encode, self._size, self._rate, self._sar = encode, size, rate, sar
        self._encoder = _encoder(encode, self._form, target)
        try:
            self._container = av.open(
                str(self._part or self._url),
                "w",
                format=self._form,
                options=_muxing(self._form),
                timeout=(_OPEN, _WRITE),
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _cannot(target, error) from error
        self._container.metadata.update(metadata)
        self._video: VideoStream | None = None
        self._keyed: int | None = None
        self._voice = _Voice(self._add_sound()) if sound else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def picture(self, frame: Frame) -> None:
        """Encode a frame at its time.

        Raises:
            MediaError: There is no connection, it is gone, or the disk is full.
        """
        if self._video is None:
            self._video = self._begun(frame)
        picture = packed(frame, (self._video.codec_context.width, self._video.codec_context.height))
        picture.pts, picture.time_base = frame.pts, Fraction(1, TICKS)
        # Counted in time, not in frames: dropped ones must not put it off.
        if self._keyed is None or frame.pts - self._keyed >= KEY * TICKS:
            self._keyed, picture.pict_type = frame.pts, PictureType.I
        self._mux(self._video.encode(picture))

    def sound(self, sound: Sound) -> None:
        """Encode a piece of sound at its time.

        Raises:
            MediaError: The connection is gone or the disk is full.
        """
        if self._voice is not None and self._video is not None:
            self._mux(self._voice.encode(sound))

    def close(self) -> None:
        """Write what the encoders still hold, and give a file its name.

        Raises:
            MediaError: It cannot be written.
        """
        try:
            if self._video is not None:
                if self._voice is not None:
                    self._mux(self._voice.rest())
                self._mux(self._video.encode(None))
            self._container.close()
            if self._part is not None and self._path is not None and self._part.exists():
                if self._video is None:
                    self._part.unlink()
                else:
                    self._part.replace(self._path)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise media_error(Path(self.name), error, "cannot be finished") from error

    def _begun(self, frame: Frame) -> VideoStream:
        """The picture's stream, once the connection stands and the head is written."""
        video = self._add_video(frame.colour, frame.layout.name)
        try:
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _cannot(self.name, error) from error
        return video

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise media_error(
                Path(self.name), error, "takes no more", "See that somebody receives it."
            ) from error

    def _add_video(self, colour: Colour, pix_fmt: str) -> VideoStream:
        rate = self._rate.limit_denominator(1001)
        stream = cast("VideoStream", self._container.add_stream(self._encoder, rate=rate))
        context = stream.codec_context
        context.width, context.height = (side + side % 2 for side in self._size)
        context.pix_fmt = pix_fmt
        context.time_base = stream.time_base = Fraction(1, TICKS)
        context.sample_aspect_ratio = self._sar
        context.color_range = 2 if colour.full_range else 1
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.colorspace = colour.matrix_code
        context.gop_size = max(1, math.ceil(KEY * rate)) + 1
        context.max_b_frames = 0
        context.thread_type = ThreadType.SLICE
        context.thread_count = 1
        if self._encode.bitrate:
            context.bit_rate = self._encode.bitrate
        context.options = _options(self._encoder, self._encode)
        return stream

    def _add_sound(self) -> AudioStream:
        stream = cast("AudioStream", self._container.add_stream(_SOUND.get(self._form, "aac"), rate=RATE))
        stream.codec_context.layout = "stereo"
        stream.codec_context.bit_rate = 160_000
        stream.codec_context.time_base = stream.time_base = Fraction(1, RATE)
        return stream


class _Voice:
    """Encodes pieces of sound that may have gaps: silence fills them, what overlaps is dropped."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._assembly = Assembly()

    def encode(self, sound: Sound) -> list[Any]:
        """Packets of what is complete."""
        self._assembly.add(sound)
        size = self._stream.codec_context.frame_size or 1024
        return [
            p for samples, at in self._assembly.take(size) for p in self._stream.encode(_piece(samples, at))
        ]

    def rest(self) -> list[Any]:
        """Packets of all that is left."""
        packets = [
            p for samples, at in self._assembly.rest() for p in self._stream.encode(_piece(samples, at))
        ]
        return [*packets, *self._stream.encode(None)]


class Assembly:
    """Pieces of sound as one run of samples from sample 0 on, in pieces of any length.

    Gaps of up to `GAP` samples are filled with silence; after a longer one the run goes on at its time.
    What lies before the run's end is dropped.
    """

    GAP = 10 * RATE

    def __init__(self) -> None:
        self._at = 0
        self._waiting: list[Float32] = []
        self._count = 0

    @property
    def end(self) -> int:
        """Sample after the last one so far."""
        return self._at + self._count

    def add(self, sound: Sound) -> None:
        """Append a piece."""
        gap = sound.start - self.end
        samples = sound.samples[:, max(0, -gap) :]
        if gap > self.GAP:
            self._waiting, self._count, self._at = [], 0, sound.start
        elif gap > 0:
            samples = np.concatenate([np.zeros((2, gap), np.float32), samples], axis=1)
        self._waiting.append(samples)
        self._count += samples.shape[1]

    def take(self, size: int) -> list[tuple[Float32, int]]:
        """Whole pieces of `size` samples, each with the number of its first one."""
        return self._cut(size, self._count // size)

    def rest(self) -> list[tuple[Float32, int]]:
        """What is left, as one piece; nothing where there is none."""
        return self._cut(self._count, 1) if self._count else []

    def _cut(self, size: int, count: int) -> list[tuple[Float32, int]]:
        if not count:
            return []
        whole = np.concatenate(self._waiting, axis=1)
        first, used = self._at, size * count
        self._waiting, self._count, self._at = [whole[:, used:]], self._count - used, first + used
        return [(whole[:, k * size : (k + 1) * size], first + k * size) for k in range(count)]


class Virtual:
    """A virtual camera that other programs see: v4l2loopback, OBS.

    Args:
        device: Its name; empty for the first one.
        size: Width and height.
        rate: Frames a second that it says it has.

    Raises:
        RuntimeUnavailable: pyvirtualcam or a driver for virtual cameras is not installed.
    """

    def __init__(self, device: str, size: tuple[int, int], rate: Fraction) -> None:
        self.name = f"virtual:{device}" if device else "virtual"
        try:
            import pyvirtualcam
        except ImportError as error:
            advice = 'It comes with `pip install "mien[live]"`.'
            raise RuntimeUnavailable(self.name, "pyvirtualcam is not installed", advice) from error
        self._size = (size[0] // 2 * 2, size[1] // 2 * 2)
        try:
            self._camera = pyvirtualcam.Camera(
                *self._size, float(rate), fmt=pyvirtualcam.PixelFormat.I420, device=device or None
            )
        except RuntimeError as error:
            advice = (
                "Linux needs the v4l2loopback module (`modprobe v4l2loopback`), Windows and macOS OBS with "
                "its virtual camera."
            )
            raise RuntimeUnavailable(self.name, f"cannot be opened ({_line(error)})", advice) from error

    def picture(self, frame: Frame) -> None:
        """Show a frame."""
        self._camera.send(i420(frame, self._size))

    def sound(self, sound: Sound) -> None:
        """A camera has none."""

    def close(self) -> None:
        """Give the camera back."""
        self._camera.close()


def i420(frame: Frame, size: tuple[int, int]) -> Any:
    """(1.5 h, w) uint8, limited range: the planes of a 4:2:0 frame one after the other, cut to even sides."""
    picture = limited(frame)
    planes = views(picture, frame.layout)
    width, height = size
    cut = [plane[: height >> (k > 0), : width >> (k > 0)].reshape(-1) for k, plane in enumerate(planes)]
    return np.concatenate(cut).reshape(height * 3 // 2, width)


def limited(frame: Frame) -> av.VideoFrame:
    """A picture of its own for a 4:2:0 frame, in limited range: what cameras and browsers expect."""
    picture = packed(frame, (frame.width, frame.height))
    if frame.colour.full_range:
        picture = picture.reformat(format="yuv420p", src_color_range=2, dst_color_range=1, threads=THREADS)
    picture.pts, picture.time_base = frame.pts, Fraction(1, TICKS)
    return picture


def packed(frame: Frame, size: tuple[int, int]) -> av.VideoFrame:
    """A picture of its own for a frame of NumPy planes; the last column and row are repeated up to `size`."""
    picture = av.VideoFrame(*size, frame.layout.name)
    for target, plane in zip(views(picture, frame.layout), frame.planes, strict=True):
        rows, columns = plane.shape[:2]
        target[:rows, :columns] = plane
        target[:rows, columns:] = plane[:, -1:]
        target[rows:] = target[rows - 1 : rows]
    return picture


def _target(target: str) -> tuple[str, str, Path | None]:
    """Container format, what FFmpeg opens, and the file to write where it is one."""
    scheme = re.match(r"([a-z]+)://", target)
    if scheme is not None:
        if scheme[1] not in _STREAMS:
            known = ", ".join(sorted(_STREAMS))
            raise MediaError(
                target, f"{scheme[1]} is not known for streams", f"Use one of {known}, or a file."
            )
        form = _STREAMS[scheme[1]]
        return form, _small_packets(target) if scheme[1] == "udp" else target, None
    path = Path(target).expanduser().absolute()
    if not path.parent.is_dir():
        raise MediaError(path, "its folder does not exist", "Make the folder first.")
    if path.suffix.lower() == ".m3u8":
        return "hls", str(path), None
    form = codecs.FORMATS.get(path.suffix.lower(), "")
    if form not in ("mp4", "mov", "matroska", "webm", "mpegts", "flv"):
        raise MediaError(path, "cannot be recorded to", "Use .mkv, .mp4, .mov, .webm or .ts.")
    return form, str(path), path


def _small_packets(target: str) -> str:
    """UDP packets of whole MPEG-TS cells that fit into Ethernet's."""
    if "pkt_size" in target:
        return target
    return f"{target}{'&' if '?' in target else '?'}pkt_size=1316"


def _encoder(encode: Encode, form: str, target: str) -> str:
    """FFmpeg's name of the encoder."""
    asked = "vp9" if encode.codec == "auto" and form == "webm" else encode.codec
    if asked not in _CODECS:
        advice = f"Use one of: {', '.join(sorted(_CODECS))}."
        raise SettingsError("encode.codec", f"{asked} cannot be used live", advice)
    encoder = _CODECS[asked]
    fits = form in ("hls", "rtsp", "rtp_mpegts") or codecs.holds(form, encoder)
    if not fits or not codecs.exists(encoder):
        raise SettingsError(
            "encode.codec", f"{asked} does not go into {target}", "Use h264, or another ending."
        )
    return encoder


def _options(encoder: str, encode: Encode) -> dict[str, str]:
    """Encoder options for as little delay as there can be."""
    if encoder == "libvpx-vp9":
        made = {"deadline": "realtime", "cpu-used": _VPX[encode.preset], "row-mt": "1", "lag-in-frames": "0"}
        return made if encode.bitrate else {**made, "crf": "30", "b": "0"}
    made = dict(codecs.recipe(encoder, encode, 1, Hdr(), chroma="420", alpha=False).options)
    made.update({"preset": _PRESETS[encode.preset], "tune": "zerolatency", "forced-idr": "1"})
    return made


def _muxing(form: str) -> dict[str, str]:
    """Container options: written at once, and readable when it breaks off."""
    asked = {"flush_packets": "1", "max_interleave_delta": "200000"}
    if form in ("mp4", "mov"):
        asked["movflags"] = "frag_keyframe+delay_moov+default_base_moof+use_metadata_tags"
    elif form == "hls":
        asked |= {"hls_time": "2", "hls_list_size": "6", "hls_flags": "delete_segments+temp_file"}
    elif form in ("mpegts", "rtp_mpegts"):
        asked |= {"max_delay": "0", "mpegts_flags": "resend_headers"}
    elif form == "flv":
        asked["flvflags"] = "no_duration_filesize"
    return asked


def _cannot(target: str, error: Exception) -> MediaError:
    """Why an output cannot be opened."""
    if isinstance(error, av.error.ProtocolNotFoundError):
        scheme = target.partition("://")[0]
        return MediaError(
            target,
            f"the FFmpeg inside this PyAV was built without {scheme}",
            f"Use udp or rtmp, or build PyAV with an FFmpeg that has {scheme}.",
        )
    return media_error(Path(target), error, "cannot be opened", "Check the address, and that it is received.")


def _piece(samples: Float32, at: int) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
    made.sample_rate, made.pts, made.time_base = RATE, at, Fraction(1, RATE)
    return made


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

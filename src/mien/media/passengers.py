"""The streams that travel along: sound, subtitles, data and attachments, copied into the output's time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from typing import cast

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from mien.media import codecs
from mien.media.clip import Clip
from mien.media.plan import EncodePlan
from mien.media.verify import Counts, codec_of

STALE = frozenset(
    {"encoder", "duration", "bps", "number_of_frames", "number_of_bytes", "vendor_id", "rotate"}
)
"""Metadata that speaks of the input's own bytes."""


def kept(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what speaks of the input's own bytes."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in STALE and not key.startswith("_STATISTICS")
    }


def holdable(form: str, stream: Stream) -> bool:
    """Whether a container takes a stream as it is: tried on a file in memory."""
    if form == "avi" and stream.type == "audio" and codec_of(stream) in ("aac", "opus", "vorbis"):
        return False  # AVI counts such packets as samples
    try:
        made = av.open(BytesIO(), "w", format=form)
    except (ValueError, OSError):
        return False
    try:
        made.add_stream_from_template(stream, opaque=True)
        made.start_encoding()
    except (ValueError, OSError):
        return False
    finally:
        with suppress(ValueError, OSError):
            made.close()
    return True


def _text_stream(output: OutputContainer, codec: str) -> Stream:
    """A stream for text subtitles; MOV text needs the sample description its encoder makes."""
    if codec != "mov_text":
        return output.add_mux_stream(codec)
    stream = cast("Stream", output.add_stream(codec))
    cast("SubtitleCodecContext", stream.codec_context).subtitle_header = _ASS_HEADER
    return stream


class Copied:
    """A stream whose packets are passed on with shifted times."""

    def __init__(self, source: Stream, target: Stream, made: EncodePlan) -> None:
        self.counts = Counts(source.type, codec_of(source))
        self._target, self._plan = target, made
        self._base = source.time_base or Fraction(1, 1000)
        ticks = made.origin / self._base
        self._shift = (2 * ticks.numerator + ticks.denominator) // (2 * ticks.denominator)

    def take(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        """The packet in output time."""
        if packet.pts is not None:
            packet.pts -= self._shift
        if packet.dts is not None:
            packet.dts -= self._shift
        early = packet.pts is not None and packet.pts < 0
        if early and self.counts.kind == "subtitle" and packet.duration:
            packet.duration = max(1, packet.duration + cast("int", packet.pts))
            packet.pts = packet.dts = 0
        packet.stream = self._target
        if packet.pts is not None:
            self.counts.add(packet.pts * self._base)
        return [packet]

    def flush(self) -> list[Packet[Stream]]:
        """Nothing is held back."""
        return []


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""What FFmpeg's text encoders want before the first line; they take the default style from it."""


class Retold(Copied):
    """Text subtitles in the target's own wording: times untouched, markup dropped."""

    def __init__(self, source: Stream, target: Stream, made: EncodePlan) -> None:
        super().__init__(source, target, made)
        self._boxed = made.format in codecs.BOXED
        self._from = self.counts.codec
        self.counts.exact = False

    def take(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        """The packet with its text as the target stores it."""
        text = plain_text(bytes(packet), self._from)
        if not text:
            return []
        data = text.encode()
        fresh: Packet[Stream] = Packet(len(data).to_bytes(2, "big") + data if self._boxed else data)
        fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.pts, packet.duration
        fresh.time_base = packet.time_base
        return super().take(fresh)


def plain_text(data: bytes, codec: str) -> str:
    """The words of a subtitle packet: SubRip and WebVTT tags, ASS fields and MOV text framing removed."""
    if codec == "mov_text":
        data = data[2 : 2 + int.from_bytes(data[:2], "big")]
    text = data.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):
        text = re.sub(r"\{[^}]*\}", "", text.split(",", 8)[-1]).replace(r"\N", "\n").replace(r"\n", "\n")
    return re.sub(r"</?[a-zA-Z][^>]*>", "", text).strip()[:65000]


_TEXT = frozenset({"subrip", "srt", "webvtt", "ass", "ssa", "mov_text", "text"})
_TEXT_IN = {"mp4": "mov_text", "mov": "mov_text", "3gp": "mov_text", "matroska": "subrip", "webm": "webvtt"}


class Reencoded:
    """A sound stream that the container does not hold, decoded and encoded as its default."""

    def __init__(self, source: AudioStream, target: AudioStream, made: EncodePlan) -> None:
        self.counts = Counts("audio", codec_of(target), exact=False)
        self._source, self._target, self._plan = source, target, made
        self._resampler: AudioResampler | None = None

    def take(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        """What the encoder makes of the packet."""
        try:
            decoded = self._source.decode(cast("Packet[AudioStream]", packet))
        except av.FFmpegError:
            return []
        out: list[Packet[Stream]] = []
        for frame in decoded:
            if frame.pts is not None:
                base = frame.time_base or Fraction(1, frame.sample_rate)
                frame.pts = round((frame.pts * base - self._plan.origin) * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
            out += self._encode(frame)
        return out

    def _encode(self, frame: av.AudioFrame | None) -> list[Packet[Stream]]:
        context = self._target.codec_context
        if self._resampler is None:
            self._resampler = AudioResampler(context.format, context.layout, context.sample_rate)
        out: list[Packet[Stream]] = []
        for ready in self._resampler.resample(frame):
            out += cast("list[Packet[Stream]]", self._target.encode(ready))
        for packet in out:
            if packet.pts is not None:
                self.counts.add(packet.pts * packet.time_base)
        return out

    def flush(self) -> list[Packet[Stream]]:
        """What decoder and encoder still hold."""
        out: list[Packet[Stream]] = []
        if self._resampler is not None:
            out += self._encode(None)
        rest = cast("list[Packet[Stream]]", self._target.encode(None))
        for packet in rest:
            if packet.pts is not None:
                self.counts.add(packet.pts * packet.time_base)
        return out + rest


class Passengers:
    """All streams of the input but its video, on their way into an output.

    Args:
        source: The input, open.
        clip: Its facts.
        made: The plan.
        end: Second on the clip's clock after which nothing is copied; None for no limit.
    """

    def __init__(self, source: InputContainer, clip: Clip, made: EncodePlan, end: Fraction | None) -> None:
        self._source, self._clip, self._plan, self._end = source, clip, made, end
        self._lanes: dict[int, Copied | Reencoded] = {}
        self.warnings: list[str] = []

    @property
    def streams(self) -> tuple[Counts, ...]:
        """What has been copied so far, in stream order."""
        return tuple(lane.counts for lane in self._lanes.values())

    def add(self, output: OutputContainer, stream: Stream) -> None:
        """Gives a stream its place in the output, or says why it has none."""
        form = self._plan.format
        if stream.type == "video":
            self.warnings.append(f"a second picture stream ({codec_of(stream)}) is left out")
            return
        if stream.type == "data" and (self._clip.chapters or not stream.name):
            if stream.name != "bin_data":
                self.warnings.append(f"data stream {stream.index} is of no known kind and is left out")
            return
        if holdable(form, stream):
            target = output.add_stream_from_template(stream, opaque=True)
            self._lanes[stream.index] = Copied(stream, target, self._plan)
        elif codec_of(stream) in _TEXT and form in _TEXT_IN:
            target = _text_stream(output, _TEXT_IN[form])
            self._lanes[stream.index] = Retold(stream, target, self._plan)
            self.warnings.append(
                f"{codec_of(stream)} subtitles are stored as {_TEXT_IN[form]}, without markup"
            )
        elif stream.type == "audio":
            target = self._encoded(output, cast("AudioStream", stream))
            self._lanes[stream.index] = Reencoded(cast("AudioStream", stream), target, self._plan)
        else:
            name = codec_of(stream) or stream.name
            self.warnings.append(
                f"{stream.type} stream {stream.index} ({name}) does not fit into {form} files"
            )
            return
        target.metadata.update(kept(stream.metadata))
        target.disposition = stream.disposition

    def _encoded(self, output: OutputContainer, stream: AudioStream) -> AudioStream:
        name = {"aac": "aac", "opus": "libopus", "vorbis": "libopus", "mp3": "libmp3lame"}.get(
            output.default_audio_codec, output.default_audio_codec
        )
        if self._plan.format == "avi":
            name = "pcm_s16le"  # an encoder's delay has no place in AVI
        name = name if codecs.exists(name) and name != "none" else "aac"
        rate = stream.codec_context.sample_rate
        if name == "libopus" and rate not in (48000, 24000, 16000, 12000, 8000):
            rate = 48000
        layout = stream.codec_context.layout.name
        target = cast("AudioStream", output.add_stream(name, rate=rate, layout=layout))
        target.codec_context.bit_rate = 96000 * max(1, stream.codec_context.channels)
        self.warnings.append(
            f"{codec_of(stream)} sound does not fit into {self._plan.format} files and is encoded as {name}"
        )
        return target

    def packets(self) -> Iterator[tuple[Fraction, list[Packet[Stream]]]]:
        """(time in seconds of the output, packets) in the input's order, within the cut."""
        streams = [self._source.streams[number] for number in self._lanes]
        streams = [stream for stream in streams if stream.type != "attachment"]
        if not streams:
            return
        try:
            for packet in self._source.demux(streams):
                if packet.size and self._within(packet):
                    moment = (packet.pts or 0) * packet.time_base - self._plan.origin
                    yield moment, self._lanes[packet.stream_index].take(packet)
        except av.FFmpegError:
            self.warnings.append("the input breaks off before its end")
        for lane in self._lanes.values():
            yield Fraction(10**9), lane.flush()

    def _within(self, packet: Packet[Stream]) -> bool:
        """Whether any of a packet lies in the cut.

        Where the container has edit lists the packet that straddles the beginning is kept, so that sound
        starts on the sample; elsewhere it would shift everything, and so would the packets before 0 by
        which a decoder of an ISO media file is primed.
        """
        if packet.pts is None:
            return self._plan.start == 0
        begin, base = packet.pts * packet.time_base, packet.time_base
        if self._end is not None and begin >= self._end:
            return False
        if self._plan.start == 0:
            primes = "mov" in self._clip.container and self._plan.format not in codecs.BOXED
            return not (primes and packet.stream.type == "audio" and begin < self._plan.origin)
        straddles = self._plan.format in codecs.BOXED or packet.stream.type == "subtitle"
        begin += (packet.duration or 0) * base if straddles else 0
        return begin > self._plan.origin or (begin == self._plan.origin and not straddles)

"""Decoding: exact frames by number, as writable views of the codec's own planes.

for frame in frames(clip, frame_index, start=100, end=200):
    frame.planes[0][...]          # (height, width) uint8 or uint16, a view, not a copy
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.stream import VideoStream

from mien.media import nvdec
from mien.media.clip import Clip, FrameIndex, only, opened
from mien.media.hardware import RefusedError, VideoEngine, heard, listening
from mien.media.layouts import semiplanar
from mien.types import Array, Frame, Layout

Reader = Callable[[InputContainer, VideoStream], Iterator[av.VideoFrame]]
"""What decodes a stream from where its container stands."""

THREADS = 1
"""For conversions. With several, FFmpeg writes past the end of a strip of rows, over what another thread
made: the same picture gives other samples from run to run (libswscale 9.5, p010le to yuv420p10le)."""


def _ignore(_message: str) -> None:
    """Nobody wants to know."""


def views(picture: av.VideoFrame, layout: Layout) -> tuple[Array, ...]:
    """The planes of a picture as views without their row padding.

    Args:
        picture: In the pixel format of `layout`; writable if the views shall be.
        layout: How its samples lie.

    Returns:
        One (rows, columns[, components]) uint8 or uint16 array a plane.
    """
    arrays = []
    item = np.dtype(layout.dtype).itemsize
    for k, plane in enumerate(picture.planes[: len(layout.planes)]):
        shape = layout.plane_shape(k, picture.width, picture.height)
        parts = shape[2] if len(shape) == 3 else 1
        flat: Array = np.frombuffer(memoryview(plane), layout.dtype)
        rows = flat[: shape[0] * (plane.line_size // item)].reshape(shape[0], plane.line_size // item)
        arrays.append(rows[:, : shape[1] * parts].reshape(shape) if parts == 1 else _split(rows, shape))
    return tuple(arrays)


def _split(rows: Array, shape: tuple[int, ...]) -> Array:
    """Interleaved components as a last axis, still a view."""
    item = rows.itemsize
    strides = (rows.strides[0], shape[2] * item, item)
    return np.lib.stride_tricks.as_strided(rows, shape, strides)


def converted(picture: av.VideoFrame, clip: Clip) -> av.VideoFrame:
    """The picture in the clip's layout and size; itself where it has both."""
    fits = (picture.format.name, picture.width, picture.height) == (clip.layout_name, clip.width, clip.height)
    if fits and picture.planes[0].line_size > 0:
        return picture
    made = picture.reformat(width=clip.width, height=clip.height, format=clip.layout_name, threads=THREADS)
    made.pts = picture.pts
    return made


def _pictures(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Everything that decodes, in presentation order; damaged packets are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            break
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue
    try:
        yield from stream.decode(None)
    except av.FFmpegError:
        return


def _starts(index: FrameIndex, start: int) -> list[int]:
    """Frames to begin decoding at, best first: the key frame before, some earlier ones, the beginning.

    Some containers find their way only roughly and land too late; then an earlier one is tried.
    """
    if index.counted:
        return [0]
    keys = np.flatnonzero(index.key[: start + 1])[::-1]
    return [*(int(key) for key in keys[[k for k in (0, 1, 3, 7) if k < len(keys)]] if key > 0), 0]


def _seek(container: InputContainer, stream: VideoStream, index: FrameIndex, key: int) -> None:
    """Moves to a key frame.

    Demuxers differ in whether they compare decoding or presentation times, so the earlier of both is
    asked for; `_exact` checks where it landed.
    """
    depth = stream.codec_context.reorder_depth
    try:
        container.seek(int(min(index.dts[key], index.pts[key])), stream=stream)
    except av.FFmpegError:
        return  # reading goes on from the beginning
    stream.codec_context.reorder_depth = depth


def frames(
    clip: Clip,
    index: FrameIndex,
    start: int = 0,
    end: int | None = None,
    *,
    threads: int = 0,
    writable: bool = True,
    report: Callable[[str], None] = _ignore,
    engine: VideoEngine | None = None,
) -> Iterator[Frame]:
    """Frames [start, end) of a clip, in order, each with its exact number and time.

    Decoding begins at the key frame before `start` in the original file, which is right for open GOPs
    too. Frames that cannot be decoded are left out and reported; the numbers of the others stay right.

    Args:
        clip: From `probe`.
        index: From `index`.
        start: First frame wanted.
        end: Frame after the last one wanted; None for all.
        threads: Decoder threads; 0 for as many as there are processors.
        writable: Whether planes may be written; without, nothing is ever copied.
        report: Called with one sentence when frames are missing, or the engine left some to the processor.
        engine: The card whose video engine decodes; None for the processor, which also goes on from the first
            frame that the engine does not give.

    Yields:
        Frames whose planes are views of `owner`, an `av.VideoFrame`; where an engine leaves them on a
        device, semiplanar tensors of their own.

    Raises:
        MediaError: The file cannot be opened.
        ValueError: The range is not within the clip.
    """
    last = len(index) if end is None else end
    if not 0 <= start <= last <= len(index):
        raise ValueError(f"range: expected 0 <= start <= end <= {len(index)}, got [{start}, {last})")
    if start == last:
        return
    given = 0
    if engine is not None:
        try:
            for frame in _by_card(clip, index, start, last, engine):
                given += 1
                yield frame
        except RefusedError as error:
            report(f"the processor decodes from frame {start + given} on, not the card: {error}")
    if start + given == last:
        return
    for number, picture in _exact(clip, index, start + given, last, _by_processor(threads)):
        given += 1
        yield _frame(converted(picture, clip), clip, index, number, writable)
    if given < last - start:
        missing = last - start - given
        report(f"{missing} of {last - start} frames from frame {start} on could not be decoded")


def _by_card(clip: Clip, index: FrameIndex, start: int, end: int, engine: VideoEngine) -> Iterator[Frame]:
    """Frames of a range by a video engine, none left out.

    Raises:
        RefusedError: It does not give the next one.
    """
    if unsuited := nvdec.unsuited(clip):
        raise RefusedError(unsuited)
    due = start
    for number, picture in _exact(clip, index, start, end, lambda c, s: nvdec.pictures(c, s, clip, engine)):
        if number != due:
            raise RefusedError(f"it leaves out frame {due}")
        due += 1
        if not engine.device:
            yield _frame(converted(picture, clip), clip, index, number, writable=True)
            continue
        from mien.media.surfaces import adopted

        layout = semiplanar(clip.layout)
        yield Frame(
            planes=adopted(picture, layout),
            layout=layout,
            colour=clip.colour,
            pts=int(index.pts[number]),
            index=number,
            display=clip.display,
        )
    if due < end:
        raise RefusedError(f"it ends before frame {due}")


TRIED = 3
"""Frames by which a card's engine is compared with the processor."""


def refusal(clip: Clip, index: FrameIndex, engine: VideoEngine, start: int = 0) -> str:
    """Why a card's engine is better not asked to decode a clip; empty where it is as good as the processor.

    It has to give the first frames from the key frame at or before `start` on, every sample of them as the
    processor does: decoding is defined to the bit, so whatever differs is wrong.

    Args:
        clip: From `probe`.
        index: From `index`.
        engine: The card.
        start: First frame that will be asked for.

    Raises:
        MediaError: The file cannot be opened.
    """
    keys = np.flatnonzero(index.key[: start + 1])
    first = int(keys[-1]) if len(keys) and not index.counted else 0
    last = min(first + TRIED, len(index))
    # The processor first: it says what is wrong with the file, if anything.
    wanted = {frame.index: frame for frame in frames(clip, index, first, last, writable=False)}
    with listening() as said:
        try:
            return _difference(_by_card(clip, index, first, last, engine), wanted, clip)
        except RefusedError as error:
            return heard(said) or str(error)


def _difference(given: Iterator[Frame], wanted: Mapping[int, Frame], clip: Clip) -> str:
    """How frames of a card's engine differ from the processor's, by number; empty where they do not."""
    for frame in given:
        landed = frame
        if not isinstance(frame.planes[0], np.ndarray):
            from mien.media.surfaces import Ring

            landed = Ring(clip.layout, 1).start(frame).frame()
        theirs = wanted.get(frame.index)
        if theirs is None or not all(map(np.array_equal, landed.planes, theirs.planes)):
            return f"frame {frame.index} differs from what the processor decodes"
    return ""


def _by_processor(threads: int) -> Reader:
    """The processor as what decodes."""

    def read(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = ThreadType.AUTO
        return _pictures(container, stream)

    return read


def _exact(
    clip: Clip, index: FrameIndex, start: int, end: int, reader: Reader
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Pictures of a range and their numbers; where a seek landed too late, once more from further back."""
    for origin in _starts(index, start):
        landed = False
        with opened(clip.path) as container:
            stream = cast("VideoStream", container.streams[clip.stream])
            only(container, clip.stream)
            if origin > 0:
                _seek(container, stream, index, origin)
            for number, picture in _numbered(reader(container, stream), index):
                if number >= end or (number > start and not landed and origin > 0):
                    break
                if number >= start:
                    landed = True
                    yield number, picture
        if landed:
            return


def _numbered(pictures: Iterator[av.VideoFrame], index: FrameIndex) -> Iterator[tuple[int, av.VideoFrame]]:
    """Pictures with their number; those the index does not know (outside an edit list) are left out."""
    previous = -1
    for count, picture in enumerate(pictures):
        number = count
        if not index.counted:
            if picture.pts is None:
                continue
            number = int(np.searchsorted(index.pts, picture.pts))
            if number >= len(index) or index.pts[number] != picture.pts:
                continue
        if previous < number < len(index):
            previous = number
            yield number, picture


def _frame(picture: av.VideoFrame, clip: Clip, index: FrameIndex, number: int, writable: bool) -> Frame:
    if writable:
        picture.make_writable()
    planes = views(picture, clip.layout)
    if not writable:
        for plane in planes:
            plane.flags.writeable = False
    return Frame(
        planes=planes,
        layout=clip.layout,
        colour=clip.colour,
        pts=int(index.pts[number]),
        index=number,
        display=clip.display,
        owner=picture,
    )

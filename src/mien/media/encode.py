"""Encoding frames into segments: files that appear by atomic rename, start at 0 and with a key frame.

with SegmentWriter(folder / "00003.seg", made, times) as writer:
    for frame in frames(clip, frame_index, segment.start, segment.end):
        writer.write(frame)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from mien.errors import MediaError
from mien.media.decode import THREADS, views
from mien.media.failure import media_error
from mien.media.layouts import LAYOUTS, nearest
from mien.media.plan import EncodePlan, Schedule, plan, schedule
from mien.types import Frame

__all__ = ["EncodePlan", "Schedule", "SegmentWriter", "plan", "schedule"]

FIRST = "comment"
"""Metadata key under which a segment carries the output time of its first picture."""


def tag(stream: VideoStream, made: EncodePlan) -> None:
    """Writes sample aspect ratio and colour codes onto a stream (not every container passes them on)."""
    context = stream.codec_context
    context.sample_aspect_ratio = made.sar
    context.color_range = 2 if made.colour.full_range else 1
    context.color_primaries = made.colour.primaries
    context.color_trc = made.colour.transfer
    context.colorspace = made.colour.matrix_code if nearest(made.pix_fmt).model != "rgb" else 0


def encoder(container: OutputContainer, made: EncodePlan, pix_fmt: str) -> VideoStream:
    """A plan's encoder as a stream of a container, for pictures of a pixel format: the plan's, or `cuda`."""
    stream = cast("VideoStream", container.add_stream(made.encoder, rate=made.rate))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = made.width, made.height, pix_fmt
    context.time_base = made.time_base
    stream.time_base = made.time_base
    tag(stream, made)
    context.gop_size = made.gop
    context.thread_count = made.threads
    context.thread_type = ThreadType.SLICE if made.encoder in ("ffv1", "libvpx-vp9") else ThreadType.FRAME
    if made.bitrate:
        context.bit_rate = made.bitrate
    if made.qscale:
        context.qscale = True
        context.global_quality = made.qscale * 118  # FF_QP2LAMBDA
    context.options = dict(made.options)
    return stream


class SegmentWriter:
    """Encodes the frames of one segment; the file is there whole or not at all.

    Args:
        path: Where the segment appears; `<path>.tmp` is written first.
        made: From `plan`.
        times: From `schedule`, for this segment's frames.

    Raises:
        MediaError: The file cannot be written.
    """

    def __init__(self, path: Path, made: EncodePlan, times: Schedule) -> None:
        self.path = path
        self.written = 0
        """Pictures encoded so far."""
        self._plan, self._times = made, times
        self._temporary = path.with_name(path.name + ".tmp")
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._first = 0

    def __enter__(self) -> Self:
        try:
            self._temporary.open("wb").close()
        except OSError as error:
            raise media_error(self.path, error, "cannot be written") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                self._abandon()
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, frame: Frame) -> None:
        """Encodes a frame at every time its schedule names: none, one or several.

        Frames come in order; a frame's `owner` is used as it is, without a copy, where the pixel format
        and size are the plan's.

        Raises:
            MediaError: The disk is full or the encoder refuses.
        """
        moments = self._times.at(frame.index)
        if not moments:
            return
        try:
            picture = picture_of(frame, self._plan)
            for moment, duration in moments:
                self._encode(picture, moment, duration)
        except (OSError, ValueError) as error:
            raise media_error(self.path, error, f"{self._plan.encoder} failed") from error

    def _encode(self, picture: av.VideoFrame, moment: int, duration: int) -> None:
        if self._container is None:
            self._open(moment, picture.format.name)
        assert self._container is not None
        assert self._stream is not None
        picture.pts = moment - self._first
        picture.time_base = self._plan.time_base
        picture.duration = duration
        picture.pict_type = 0  # the input's choice of frame types is not ours
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self.written += 1

    def _open(self, first: int, pix_fmt: str) -> None:
        self._first = first
        form = self._plan.segment_format
        target = str(self._temporary.absolute())
        self._container = av.open(target, "w", format=form, container_options={"fflags": "+bitexact"})
        self._container.metadata[FIRST] = str(first)
        self._stream = encoder(self._container, self._plan, pix_fmt)

    def _finish(self) -> None:
        try:
            if self._container is not None and self._stream is not None:
                for packet in self._stream.encode(None):
                    self._container.mux(packet)
                self._container.close()
            with self._temporary.open("rb+") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self.path)
        except (OSError, ValueError) as error:
            self._abandon()
            raise media_error(self.path, error, "cannot be written") from error

    def _abandon(self) -> None:
        """Closes what is open; the file is of no use, so errors of closing are not either."""
        try:
            if self._container is not None:
                self._container.close()
        except (OSError, ValueError):
            pass
        self._container = None


def picture_of(frame: Frame, made: EncodePlan) -> av.VideoFrame:
    """The codec's own picture of a frame, in the plan's pixel format and size, or on its card."""
    picture = frame.owner if isinstance(frame.owner, av.VideoFrame) else _packed(frame)
    if made.device and picture.sw_format is not None:
        return picture
    width, height = made.picture
    if (picture.format.name, picture.width, picture.height) != (made.pix_fmt, width, height):
        picture = _reformatted(picture, frame, made)
    if (width, height) != (made.width, made.height):
        picture = _padded(picture, made)
    return picture


def _packed(frame: Frame) -> av.VideoFrame:
    """A picture for planes that belong to no codec."""
    picture = av.VideoFrame(frame.width, frame.height, frame.layout.name)
    for target, plane in zip(views(picture, frame.layout), frame.planes, strict=True):
        np.copyto(target, plane)
    return picture


_SWS_MATRIX: Mapping[str, str] = {"bt601": "itu601", "bt709": "itu709", "bt2020": "bt2020", "rgb": "itu709"}


def _reformatted(picture: av.VideoFrame, frame: Frame, made: EncodePlan) -> av.VideoFrame:
    """Pixel format and size of the plan; matrix and range stay, so like converts to like exactly."""
    wanted, given = nearest(made.pix_fmt), frame.layout
    side = 2 if frame.colour.full_range else 1
    other = 2 if wanted.model == "rgb" or made.colour.full_range else 1
    matrix = _SWS_MATRIX[frame.colour.matrix]
    return picture.reformat(
        width=made.picture[0],
        height=made.picture[1],
        format=made.pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2 if given.model == "rgb" else side,
        dst_color_range=other,
        interpolation=Interpolation.LANCZOS,
        threads=THREADS,
    )


def _padded(picture: av.VideoFrame, made: EncodePlan) -> av.VideoFrame:
    """The picture with its last column and row repeated up to the plan's even sides."""
    if made.pix_fmt not in LAYOUTS:
        raise MediaError(made.output, f"pictures of odd size cannot be padded as {made.pix_fmt}")
    layout = LAYOUTS[made.pix_fmt]
    larger = av.VideoFrame(made.width, made.height, made.pix_fmt)
    for target, plane in zip(views(larger, layout), views(picture, layout), strict=True):
        rows, columns = plane.shape[:2]
        target[:rows, :columns] = plane
        target[:rows, columns:] = plane[:, -1:]
        target[rows:] = target[rows - 1 : rows]
    return larger

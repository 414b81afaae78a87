"""Frames on a graphics card, between FFmpeg's video engines and everything else. Knows torch, and nobody else
on this floor does.

Engines keep both colour components in one plane, and samples of more than 8 bits in the high bits of 16. Our
frames have them in memory of their own and in the low bits: the copy that shifts them also takes them out of
FFmpeg's pools. Nothing here waits for the device but `frame()` of what is handed on. The same code runs on
torch's CPU tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import av
import torch
from av.video.frame import CudaContext
from torch import Tensor

from mien.types import Frame, Layout

_PITCH = 256
"""Rows of a picture for an encoder are padded to a multiple of this many samples, as by cudaMallocPitch."""


def current(device: str) -> None:
    """Make torch's context of a card the calling thread's current one, where FFmpeg then finds it.

    FFmpeg's other way, to ask for the primary context, fails where torch was there first with other flags.
    """
    if device.startswith("cuda"):
        torch.cuda.set_device(torch.device(device))
        torch.zeros(1, device=device)


def context(device: str) -> CudaContext | None:
    """The context in which frames of a card become FFmpeg's: torch's own; None for the processor.

    It is settled by the first thread that uses it, after `current`.
    """
    where = torch.device(device)
    if where.type != "cuda":
        return None
    return CudaContext(where.index or 0, primary_ctx=False, current_ctx=True)


@contextmanager
def _after_ffmpeg(device: torch.device) -> Iterator[None]:
    """Queue what the block does after FFmpeg's work, and FFmpeg's next work after that.

    FFmpeg works on the default stream, on which most of torch's work is, too; then there is nothing to do.
    """
    if device.type != "cuda":
        yield
        return
    ours, theirs = torch.cuda.current_stream(device), torch.cuda.default_stream(device)
    if ours == theirs:
        yield
        return
    ours.wait_stream(theirs)
    yield
    theirs.wait_stream(ours)


def adopted(picture: av.VideoFrame, layout: Layout) -> tuple[Any, ...]:
    """The planes of a picture that a video engine decoded, as tensors of our own memory on its device.

    Args:
        picture: nv12, p010le or p016le, on a card or in host memory.
        layout: Semiplanar, of as many bits as the clip has.
    """
    # Not torch.from_dlpack: it names a stream, and PyAV takes none.
    raw = [torch.utils.dlpack.from_dlpack(plane.__dlpack__()) for plane in picture.planes]
    with _after_ffmpeg(raw[0].device):
        return tuple(_low(plane, layout.depth) for plane in raw)


def _low(plane: Tensor, depth: int) -> Tensor:
    """A copy with its samples in the low bits, rows without padding."""
    if depth == 8:
        return plane.clone(memory_format=torch.contiguous_format)
    # As signed numbers, since torch shifts no unsigned ones: what the sign drags in is masked away.
    shifted = (plane.view(torch.int16) >> (16 - depth)) & ((1 << depth) - 1)
    return shifted.contiguous().view(torch.uint16)


def _high(plane: Tensor, depth: int) -> Tensor:
    """The samples in the high bits."""
    return plane if depth == 8 else (plane.view(torch.int16) << (16 - depth)).view(torch.uint16)


def picture(frame: Frame, given: CudaContext | None) -> av.VideoFrame:
    """A copy of a 4:2:0 frame of tensors as FFmpeg's picture on their device: nv12, or p010le above 8 bits.

    One piece of memory with the colours right behind luma, since NVENC is told of one address only. What
    fills it is queued on the current stream: the caller sees that it is through before an encoder looks.

    Args:
        frame: Planar or semiplanar 4:2:0 of 8 to 16 bits, with even sides.
        given: From `context`, for its device.
    """
    planes, layout = _tensors(frame), frame.layout
    height, width = planes[0].shape
    pitch = -(-width // _PITCH) * _PITCH
    whole = torch.empty((height * 3 // 2, pitch), dtype=planes[0].dtype, device=planes[0].device)
    luma, colours = whole[:height, :width], whole[height:, :width].view(height // 2, width // 2, 2)
    luma.copy_(_high(planes[0], layout.depth))
    if len(planes) == 2:
        colours.copy_(_high(planes[1], layout.depth))
    else:
        for slot, plane in enumerate(planes[1:]):
            colours[..., slot].copy_(_high(plane, layout.depth))
    form = "nv12" if layout.depth == 8 else "p010le"
    return av.VideoFrame.from_dlpack((luma, colours), format=form, cuda_context=given)


def up(frame: Frame, device: str) -> Frame:
    """A frame of NumPy planes on a device: through pinned memory, queued and not waited for."""
    where = torch.device(device)
    planes = []
    for plane in frame.planes:
        # torch keeps pinned memory to itself until the copy from it is through, and gives it out again then.
        kind = getattr(torch, plane.dtype.name)
        host = torch.empty(plane.shape, dtype=kind, pin_memory=where.type == "cuda")
        host.numpy()[...] = plane
        planes.append(host.to(where, non_blocking=True))
    return replace(frame, planes=cast(Any, tuple(planes)), owner=None)


def _tensors(frame: Frame) -> tuple[Tensor, ...]:
    return cast("tuple[Tensor, ...]", frame.planes)


class Handed:
    """A frame as FFmpeg's picture on its card (`owner`), for an encoder there."""

    def __init__(self, frame: Frame, given: CudaContext | None) -> None:
        self._frame = replace(frame, owner=picture(frame, given))
        self._done = _event(_tensors(frame)[0].device)

    def frame(self) -> Frame:
        """The frame, when the device is through with it; others' work behind it is not waited for."""
        if self._done is not None:
            self._done.synchronize()
        return self._frame

    def release(self) -> None:
        """Nothing to give back: the encoder keeps what it needs."""


def _event(device: torch.device, stream: torch.cuda.Stream | None = None) -> torch.cuda.Event | None:
    """A mark behind what is queued on a stream; the current one where none is given."""
    if device.type != "cuda":
        return None
    mark: torch.cuda.Event = (stream or torch.cuda.current_stream(device)).record_event()
    return mark


class Download:
    """A frame on its way to the host, into one piece of a ring's memory."""

    def __init__(self, ring: Ring, frame: Frame, slot: tuple[Tensor, ...]) -> None:
        self._ring, self._slot = ring, slot
        planes = ring.parted(frame)
        stream = ring.stream(planes[0].device)
        if stream is None:
            self._copy(planes)
        else:
            stream.wait_stream(torch.cuda.current_stream(planes[0].device))
            with torch.cuda.stream(stream):
                self._copy(planes)
            for plane in planes:
                plane.record_stream(stream)
        self._done = _event(planes[0].device, stream)
        landed = tuple(plane.numpy() for plane in slot)
        self._frame = replace(frame, planes=cast(Any, landed), layout=ring.layout, owner=None)

    def _copy(self, planes: Sequence[Tensor]) -> None:
        for target, plane in zip(self._slot, planes, strict=True):
            target.copy_(plane, non_blocking=True)

    def frame(self) -> Frame:
        """The frame in host memory, when it is there; to be used until `release`."""
        if self._done is not None:
            self._done.synchronize()
        return self._frame

    def release(self) -> None:
        """Give the memory back to the ring."""
        self._ring.take_back(self._slot)


class Ring:
    """Host memory in which frames of a card land, used again and again; pinned, so that copies overlap work.

    Copies run on a stream of their own, each after what was queued before it. Pieces are made when they are
    first needed, and never more than `most`, each as large as a frame.

    Args:
        layout: Of the frames that land: planar, as the clip has it.
        most: Frames that may be on their way or in use at once.
    """

    def __init__(self, layout: Layout, most: int) -> None:
        self.layout = layout
        self._free: deque[tuple[Tensor, ...]] = deque()
        self._left = most
        self._most = most
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def start(self, frame: Frame) -> Download:
        """Queue the copy of a frame of tensors.

        Raises:
            ValueError: More frames are under way than the ring was made for.
        """
        if not self._free:
            if not self._left:
                raise ValueError(f"ring: expected at most {self._most} frames under way")
            self._left -= 1
            self._free.append(self._made(frame))
        return Download(self, frame, self._free.popleft())

    def take_back(self, slot: tuple[Tensor, ...]) -> None:
        """Memory that nobody uses any more."""
        self._free.append(slot)

    def _made(self, frame: Frame) -> tuple[Tensor, ...]:
        first = _tensors(frame)[0]
        numbers, pinned = range(len(self.layout.planes)), first.device.type == "cuda"
        shapes = [self.layout.plane_shape(k, frame.width, frame.height) for k in numbers]
        return tuple(torch.empty(shape, dtype=first.dtype, pin_memory=pinned) for shape in shapes)

    def parted(self, frame: Frame) -> tuple[Tensor, ...]:
        """The planes of a frame in the ring's layout, rows without padding."""
        planes = _tensors(frame)
        if frame.layout == self.layout:
            return tuple(plane.contiguous() for plane in planes)
        luma, colours = planes
        return (luma.contiguous(), *(colours[..., slot].contiguous() for slot in (0, 1)))

    def stream(self, device: torch.device) -> torch.cuda.Stream | None:
        """The stream of the ring's copies; None on the processor."""
        if device.type == "cuda" and device not in self._streams:
            self._streams[device] = cast(Any, torch.cuda.Stream)(device)
        return self._streams.get(device)

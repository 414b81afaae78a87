"""Frames on their way to an encoder, on either side of the bus. By itself it needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.media.plan import EncodePlan
from mien.types import Frame, Layout

if TYPE_CHECKING:
    from av.video.frame import CudaContext

    from mien.media.surfaces import Ring


class Landing(Protocol):
    """A frame that is on its way."""

    def frame(self) -> Frame:
        """The frame as the encoder takes it; waits for it, and for nothing else."""
        ...

    def release(self) -> None:
        """Say that the encoder has it."""
        ...


class Here:
    """A frame that is where it should be."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def frame(self) -> Frame:
        """The frame."""
        return self._frame

    def release(self) -> None:
        """Nothing to give back."""


class Outgoing:
    """Sends frames on their way: called by the thread that changed them, in order.

    Frames of tensors for an encoder on the processor come down once, through a ring of pinned memory; for one
    on the card they become its pictures there, and frames of NumPy's go up for that.

    Args:
        made: Whose encoder they are for.
        layout: Of the clip's frames on the host.
        most: Frames that may be on their way or in use at once.
    """

    def __init__(self, made: EncodePlan, layout: Layout, most: int) -> None:
        self._device, self._layout, self._most = made.device, layout, most
        self._ring: Ring | None = None
        self._context: CudaContext | None = None
        self._ready = False

    def __call__(self, frame: Frame) -> Landing:
        """Send a frame; it is not to be changed any more."""
        here = isinstance(frame.planes[0], np.ndarray)
        if self._device:
            return self._to_card(frame, here)
        if here:
            return Here(frame)
        from mien.media.surfaces import Ring

        if self._ring is None:
            self._ring = Ring(self._layout, self._most)
        return self._ring.start(frame)

    def _to_card(self, frame: Frame, here: bool) -> Landing:
        from mien.media import surfaces

        if not self._ready:
            surfaces.current(self._device)
            self._context, self._ready = surfaces.context(self._device), True
        return surfaces.Handed(surfaces.up(frame, self._device) if here else frame, self._context)

"""A CUDA stream for a library that knows nothing of torch, in explicit order with torch's own streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.types import Array

if TYPE_CHECKING:
    import torch


class Lane:
    """A stream of an engine's own.

    An engine that is told to work on a stream does not wait for the streams on which its inputs are filled,
    and may read them too early (ONNX Runtime 1.32, with the CUDA and TensorRT providers). So everything of a
    call is queued here: the copy of its inputs, its run, and the copy of what it gives.

    Args:
        torch: The library.
        device: Of the stream, as torch names it.
    """

    def __init__(self, torch: Any, device: str) -> None:
        self._torch = torch
        self.device: torch.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device)

    @property
    def address(self) -> str:
        """Of the stream, as ONNX Runtime takes it."""
        return str(self._stream.cuda_stream)

    @contextmanager
    def turn(self, given: Iterable[Any]) -> Iterator[list[Any]]:
        """Queue on this stream: after all that the caller has queued, before all that the caller queues next.

        Args:
            given: What is read within.

        Yields:
            A list for what is made within and used by the caller.
        """
        cuda = self._torch.cuda
        caller = cuda.current_stream(self.device)
        self._stream.wait_stream(caller)
        made: list[Any] = []
        try:
            with cuda.stream(self._stream):
                yield made
        finally:
            # Memory is reused in the order of the stream that it was asked for on, unless others are named.
            for tensor in given:
                tensor.record_stream(self._stream)
            for tensor in made:
                tensor.record_stream(caller)
            caller.wait_stream(self._stream)

    def up(self, array: Array) -> Any:
        """A copy on the device, a tensor."""
        dense = np.ascontiguousarray(array)
        return self._torch.from_numpy(dense if dense.flags.writeable else dense.copy()).to(self.device)

    @staticmethod
    def down(tensor: Any) -> Array:
        """A tensor's copy on the host; waits for it."""
        return np.asarray(tensor.cpu().numpy())


def reached(device: str) -> tuple[Any, str] | None:
    """Torch and its name of a card; None where `device` is none, or torch does not reach it."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return None
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        return None
    return torch, f"cuda:{int(number or 0)}"


def lane(device: str) -> Lane | None:
    """A stream on a card; None on the processor, and where torch does not reach the card."""
    found = reached(device)
    return None if found is None else Lane(*found)

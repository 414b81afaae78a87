"""ONNX Runtime from and to tensors where they lie, by the DLPack protocol and IO binding.

Nothing here imports torch: what tensors can do is asked of the array API of whichever library made them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

from mien.images.operations import namespace
from mien.models.engine import Call, Port, singly
from mien.models.torch_lane import Lane
from mien.types import Array

SIZES = (1, 4, 8, 16)
"""Numbers of rows for which CUDA graphs are recorded; others are padded."""
SLOTS = 16
"""Most shapes that are recorded, as none is ever forgotten; others run unrecorded."""
_UNRECORDED = -1

_Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class Binding:
    """A session of ONNX Runtime that is run on tensors.

    Args:
        library: ONNX Runtime.
        session: Of the network.
        inputs: Of the session.
        outputs: Of the session.
        undivided: Inputs without a batch axis.
        device: On which the tensors lie, as torch names it.
        lane: The stream that the session works on; None on the processor.
        sizes: Numbers of rows, rising, for which tensors are held at fixed addresses, as CUDA graphs need;
            what lies between is padded with zeros, and what is beyond runs as it comes. Empty for none.
    """

    def __init__(
        self,
        library: Any,
        session: Any,
        inputs: Mapping[str, Port],
        outputs: Mapping[str, Port],
        undivided: frozenset[str],
        device: str,
        lane: Lane | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        self._library = library
        self._session = session
        self._inputs = inputs
        self._outputs = list(outputs)
        self._undivided = undivided
        kind, _, number = device.partition(":")
        self._place = (kind, int(number or 0))
        self._lane = lane
        self._sizes = tuple(sizes)
        self._slots: dict[_Shapes, _Slot] = {}
        self._lock = threading.Lock()

    def call(self, batch: int, most: int) -> Call:
        """A function for this many rows, of which the session takes `most` at once."""
        return singly(self.run, batch, self._undivided, most) if batch > most else self.run

    def run(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs in float32, for any number of rows; they are the caller's own.

        On a card nothing is waited for: what the caller queues next is after the run.

        Raises:
            ValueError: An input has another shape or type than the network takes.
        """
        xp = namespace(next(iter(given.values())))
        if self._lane is None and not self._sizes:
            return self._direct(xp, self._typed(xp, given))
        with self._lock, ExitStack() as stack:
            made: list[Any] = []
            if self._lane is not None:
                made = stack.enter_context(self._lane.turn(given.values()))
            results = self._held(xp, self._typed(xp, given))
            made.extend(results.values())
            return results

    def _typed(self, xp: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs in the file's order and types, without gaps."""
        ready = {}
        for name, port in self._inputs.items():
            array = given[name]
            # Of no rows there may always be some.
            skip = int(name not in self._undivided and array.ndim > 0 and not array.shape[0])
            if array.ndim != len(port.shape) or any(
                p not in (-1, n) for p, n in zip(port.shape[skip:], array.shape[skip:], strict=True)
            ):
                raise ValueError(f"{name}: expected {port}, got {tuple(array.shape)}")
            ready[name] = xp.astype(array, getattr(xp, port.dtype), copy=False).contiguous()
        return ready

    def _rows(self, ready: Mapping[str, Any]) -> int:
        return next((int(a.shape[0]) for n, a in ready.items() if n not in self._undivided), 1)

    def _direct(self, xp: Any, ready: Mapping[str, Any]) -> dict[str, Array]:
        """Run on the tensors themselves."""
        rows = self._rows(ready)
        if not rows:  # few operators know what to do with nothing
            ready = {
                n: a if n in self._undivided else _zeros(xp, a, (1, *a.shape[1:])) for n, a in ready.items()
            }
        found = self._unrecorded(xp, ready)
        return {n: self._own(xp, a[:0] if not rows else a) for n, a in found.items()}

    def _unrecorded(self, xp: Any, ready: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs in memory of the session's."""
        binding = self._session.io_binding()
        for name, array in ready.items():
            binding.bind_ortvalue_input(name, self._library.OrtValue.from_dlpack(array))
        for name in self._outputs:
            binding.bind_output(name, *self._place)
        self._session.run_with_iobinding(binding, self._asked(_UNRECORDED))
        results = binding.get_outputs()
        return {name: xp.from_dlpack(r) for name, r in zip(self._outputs, results, strict=True)}

    def _own(self, xp: Any, array: Any) -> Array:
        """A float32 tensor that shares nothing with the session."""
        found: Array = xp.astype(array, xp.float32, copy=self._lane is not None or bool(self._sizes))
        return found

    def _held(self, xp: Any, ready: Mapping[str, Any]) -> dict[str, Array]:
        """Run on tensors at fixed addresses, padded; queued on the lane."""
        rows = self._rows(ready)
        size = next((s for s in self._sizes if s >= rows), rows)
        shapes: _Shapes = tuple(
            tuple(a.shape) if n in self._undivided else (size, *a.shape[1:]) for n, a in ready.items()
        )
        slot = self._slots.get(shapes)
        if slot is None and (size not in self._sizes or len(self._slots) >= SLOTS):
            return self._direct(xp, ready)
        if slot is None:
            held = {n: _zeros(xp, a, s) for (n, a), s in zip(ready.items(), shapes, strict=True)}
            slot = self._slots[shapes] = _Slot(held, len(self._slots) + 1)
        for name, array in ready.items():
            if name in self._undivided:
                slot.inputs[name][...] = array
            else:
                slot.inputs[name][:rows] = array
                slot.inputs[name][rows:] = 0
        self._record(xp, slot)
        return {n: self._own(xp, a if rows == size else a[:rows]) for n, a in slot.outputs.items()}

    def _record(self, xp: Any, slot: _Slot) -> None:
        """Run a slot; the first time, see how large its outputs are, and hold tensors for them."""
        if slot.binding is None:
            slot.outputs = {
                name: xp.empty(a.shape, dtype=a.dtype, device=a.device)
                for name, a in self._unrecorded(xp, slot.inputs).items()
            }
            value = self._library.OrtValue.from_dlpack
            slot.binding = self._session.io_binding()
            for name, array in slot.inputs.items():
                slot.binding.bind_ortvalue_input(name, value(array))
            for name, array in slot.outputs.items():
                slot.binding.bind_ortvalue_output(name, value(array))
        self._session.run_with_iobinding(slot.binding, self._asked(slot.number))

    def _asked(self, number: int) -> Any:
        """Options of a run: which graph it records or replays; on a lane nobody waits for the card."""
        options = self._library.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        if self._lane is not None:
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return options


class _Slot:
    """Tensors of one shape at fixed addresses.

    Args:
        inputs: Input name to the tensor that is filled.
        number: Of its CUDA graph.
    """

    def __init__(self, inputs: dict[str, Any], number: int) -> None:
        self.inputs = inputs
        self.outputs: dict[str, Any] = {}
        self.number = number
        self.binding: Any = None


def _zeros(xp: Any, like: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a tensor's kind, where it is."""
    return xp.zeros(shape, dtype=like.dtype, device=like.device)

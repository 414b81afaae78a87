"""torch: ONNX files on a CUDA card, in float32, bfloat16 or float16, or on the processor.

On a card each batch size is recorded once as a CUDA graph and replayed: these networks are hundreds of
small calls, which take longer to start than to run. torch itself is imported only when a network is loaded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper

from mien.errors import ModelError, RuntimeUnavailable
from mien.models import graph, graph_file, mend_fold, mend_half
from mien.models.engine import Call, Candidate, Network, Port, assigned, whole
from mien.types import Array

if TYPE_CHECKING:
    import torch

    from mien.models.torch_graph import Program

Bound: TypeAlias = "Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]"
"""Input name to tensor with the bound number of rows; output name to tensor. Both lie on the device."""

WARM = 3
"""Runs before a graph is recorded, in which cuDNN looks for its fastest way."""
PROGRAMS = 16
"""Most shapes that are remembered; others are traced again."""
OTHER = "Set device.engine to onnxruntime or auto."


class TorchEngine:
    """A network in torch.

    Args:
        network: `device` says where it runs: cpu, cuda or cuda:1; empty for the first card, or the
            processor where there is none.
        candidate: Its precision: what is unsafe in sixteen bits stays in float32, see `mend_half`.

    Raises:
        RuntimeUnavailable: torch or the device is absent.
        ModelError: The file cannot be read, or an operator is unknown.
    """

    def __init__(self, network: Network, candidate: Candidate) -> None:
        try:
            import torch

            from mien.models import torch_fuse, torch_graph, torch_site
        except ImportError as error:
            raise RuntimeUnavailable(
                network.name,
                "torch is absent",
                "Run `pip install 'mien[gpu]'`, or use another device.engine.",
            ) from error
        if not network.is_onnx:
            raise RuntimeUnavailable(
                network.name,
                f"torch cannot read {network.path.suffix} files",
                "Set device.engine to openvino or auto.",
            )
        self._network = network
        self.device = _device(network)
        parsed = _read(network)
        self.inputs: Mapping[str, Port] = {p.name: _port(p) for p in parsed.inputs}
        self._whole = whole(network, list(self.inputs))
        self._fixed = not network.batched or any(
            port.shape[:1] != (-1,) for name, port in self.inputs.items() if name not in self._whole
        )
        declared = {p.name: _port(p) for p in parsed.outputs}
        torch_fuse.fuse(parsed)
        if candidate.precision != "f32" and not mend_fold.halved(parsed):
            parsed = mend_half.half(parsed)
        # Weights become bfloat16 by way of float16, which costs far less than bfloat16's own rounding.
        half = torch.bfloat16 if candidate.precision == "bf16" else torch.float16
        # On a card half precision wants channels side by side; float32 does not care.
        last = self.device.type == "cuda" and candidate.precision != "f32"
        try:
            self._graph = torch_graph.Graph(parsed, self.device, half, last)
            first = self._first()
        except (torch_graph.NodeError, torch_site.Unsupported) as error:
            raise self._unknown(error) from error
        self._lock = threading.Lock()
        self._programs: dict[tuple[tuple[int, ...], ...], Program] = {}
        self.outputs: Mapping[str, Port] = {
            name: _sized(port, first.shapes[k] if first else ())
            for k, (name, port) in enumerate(declared.items())
        }
        place = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        self.label = f"torch {torch.__version__} {place} {candidate.precision}"

    def prepare(self, batch: int) -> Call:
        """A function for this many rows, from and to the processor's memory."""

        bound = self.bind(batch)

        def call(given: Mapping[str, Array]) -> dict[str, Array]:
            tensors = {name: _tensor(given[name]).to(self.device) for name in self.inputs}
            results = bound(tensors)
            # A copy: an output may be a view of an input or of a constant.
            return {name: np.array(t.float().cpu().numpy(), np.float32) for name, t in results.items()}

        return call

    def bind(self, batch: int) -> Bound:
        """A function for this many rows, from and to tensors on the device; nothing visits the host.

        It is called by one thread at a time, and runs on the caller's current stream. What it gives is the
        caller's own. On a card, a network whose sizes are all known is recorded as a CUDA graph here.
        """
        import torch

        if self._fixed and batch > 1:
            return self._singly(batch)
        shapes = self._shapes(batch)
        if self.device.type == "cuda" and shapes is not None:
            with torch.cuda.device(self.device), self._guard(torch):
                return self._named(
                    _Recorded(torch, self._program(shapes), shapes, self._graph.types, self.device)
                )

        def run(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            program = self._program(tuple(tuple(int(n) for n in t.shape) for t in tensors))
            with self._guard(torch):
                return program(tensors)

        return self._named(run)

    def joins(self, batch: int) -> bool:
        """Whether it sees that many rows at once."""
        return batch == 1 or not self._fixed

    def keep(self, sizes: Sequence[int]) -> None:
        """Let go of what was traced for other batch sizes."""
        divided = [k for k, name in enumerate(self.inputs) if name not in self._whole]
        with self._lock:
            self._programs = {
                shapes: program
                for shapes, program in self._programs.items()
                if not divided or shapes[divided[0]][:1] in [(size,) for size in sizes]
            }

    def _named(self, run: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]) -> Bound:
        """By names in place of order."""
        inputs, outputs, kinds = list(self.inputs), list(self.outputs), self._graph.types

        def call(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            tensors = [given[name].to(kind) for name, kind in zip(inputs, kinds, strict=True)]
            return dict(zip(outputs, run(tensors), strict=True))

        return call

    def _singly(self, batch: int) -> Bound:
        """One row after the other."""
        import torch

        bound = self.bind(1)

        def call(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            rows = [
                bound({n: t if n in self._whole else t[k : k + 1] for n, t in given.items()})
                for k in range(batch)
            ]
            return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

        return call

    def _shapes(self, batch: int) -> tuple[tuple[int, ...], ...] | None:
        """Of the inputs for a batch size; None where file and card leave a length open."""
        tensors = assigned(self._network.inputs, list(self.inputs))
        found = []
        for name, port in self.inputs.items():
            shape, card = list(port.shape), tensors.get(name)
            start = 0 if name in self._whole else 1
            if start and shape[:1] == [-1]:
                shape[0] = batch
            for axis, length in enumerate(card.shape if card else (), start):
                if axis < len(shape) and shape[axis] < 0:
                    shape[axis] = length
            if any(n < 0 for n in shape):
                return None
            found.append(tuple(shape))
        return tuple(found)

    def _first(self) -> Program | None:
        """The network for one row, where its sizes are known: what does not fit is said when it is loaded."""
        shapes = self._shapes(1)
        return None if shapes is None else self._graph.trace(shapes)

    def _program(self, shapes: tuple[tuple[int, ...], ...]) -> Program:
        """The network for these shapes."""
        from mien.models import torch_graph, torch_site

        with self._lock:
            found = self._programs.get(shapes)
            if found is None:
                try:
                    found = self._graph.trace(shapes)
                except (torch_graph.NodeError, torch_site.Unsupported) as error:
                    raise self._unknown(error) from error
                while len(self._programs) >= PROGRAMS:
                    self._programs.pop(next(iter(self._programs)))
                self._programs[shapes] = found
            return found

    def _unknown(self, error: Exception) -> ModelError:
        return ModelError(self._network.name, f"{self._network.path.name} cannot be run: {error}", OTHER)

    @contextlib.contextmanager
    def _guard(self, torch: Any) -> Iterator[None]:
        """Threads as asked on the processor; on a card float32 that is float32, not TensorFloat-32."""
        if self.device.type == "cpu":
            if torch.get_num_threads() != self._network.threads:
                torch.set_num_threads(self._network.threads)
            yield
            return
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            yield


class _Recorded:
    """A program as a CUDA graph, with the tensors that it reads and writes."""

    def __init__(
        self,
        torch: Any,
        program: Program,
        shapes: Sequence[Sequence[int]],
        kinds: Sequence[Any],
        device: torch.device,
    ) -> None:
        self._program = program  # holds what the graph reads
        self._inputs = [
            torch.zeros(tuple(shape), dtype=kind, device=device)
            for shape, kind in zip(shapes, kinds, strict=True)
        ]
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM):
                program(self._inputs)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the card meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = program(self._inputs)

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        for held, given in zip(self._inputs, tensors, strict=True):
            if held.shape != given.shape:
                raise ValueError(f"expected {tuple(held.shape)}, got {tuple(given.shape)}")
            held.copy_(given, non_blocking=True)
        self._graph.replay()
        return [tensor.clone() for tensor in self._outputs]


def _device(network: Network) -> torch.device:
    """Where to run; raises RuntimeUnavailable where that is not to be had."""
    import torch

    asked = network.device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = asked.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise RuntimeUnavailable(
            network.name, f"torch has no device {asked} here", "Use cpu, cuda or cuda:1."
        )
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeUnavailable(
            network.name,
            f"torch {torch.__version__} reaches no CUDA card",
            "Install a torch made for CUDA and the card's driver, or use another device.engine.",
        )
    if int(number or 0) >= torch.cuda.device_count():
        raise RuntimeUnavailable(
            network.name,
            f"there is no card {asked}",
            f"The last one is cuda:{torch.cuda.device_count() - 1}.",
        )
    return torch.device("cuda", int(number or 0))


def _read(network: Network) -> graph.Network:
    """The file's graph, checked and in order."""
    parsed = graph_file.read(network.path)
    if parsed.odd:
        raise ModelError(network.name, f"torch cannot run {network.path.name}: it has {parsed.odd}", OTHER)
    try:
        parsed.order()
    except ValueError as error:
        raise ModelError(
            network.name, f"{network.path.name} cannot be run: {error}", graph_file.AGAIN
        ) from error
    return parsed


def _tensor(array: Array) -> torch.Tensor:
    """A view of an array; a copy of one that cannot be written to."""
    import torch

    dense = np.ascontiguousarray(array)
    return torch.from_numpy(dense if dense.flags.writeable else dense.copy())


def _port(port: graph.Port) -> Port:
    """As engines say it."""
    shape = tuple(n if isinstance(n, int) else -1 for n in port.shape or ())
    kind = port.type if port.type != TensorProto.BFLOAT16 else TensorProto.FLOAT
    return Port(shape, str(np.dtype(helper.tensor_dtype_to_np_dtype(kind))))


def _sized(port: Port, found: tuple[int, ...]) -> Port:
    """An output whose shape the file leaves out has that of a run, with all lengths open."""
    return Port((-1,) * len(found), port.dtype) if not port.shape and found else port

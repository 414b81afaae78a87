"""What a session sets out with: the mended file, the engines worth trying, what it will cost."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mien.models import budget, engines, mend, tensorrt
from mien.models.budget import Budget
from mien.models.card import Card
from mien.models.choice import Book, Choice
from mien.models.engine import Candidate, Network
from mien.models.engine_onnxruntime import Evaluator
from mien.models.engine_openvino import PAIR
from mien.models.store import Store
from mien.settings import Device

ABREAST = 8
"""Most rows side by side."""
LARGE = 64_000_000
"""Networks of more bytes are compiled for the batch sizes that are used only, as each takes a copy of the
weights."""

BOOK = "choices.json"
"""Name of the file with measured choices, in the store's home."""
PLACE = ("card", "asked", "processor", "threads")
"""Facts of a choice that tell one user of the file from another; the others grow old."""


class Setup:
    """What all sessions of one runtime share.

    Args:
        store: Where model files come from.
        threads: Processor threads that a network may use.
        device: What was asked for.
        singly: Whether frames come one at a time, as in a preview.
    """

    def __init__(self, store: Store, threads: int, device: Device, singly: bool = False) -> None:
        self.store = store
        self.threads = threads
        self.device = device
        self.singly = singly
        self.budget = Budget(device.memory * 1_000_000)
        self.book = Book(store.home / BOOK)
        self.turn = threading.Lock()
        """Held while something is measured: one at a time, so that they do not slow each other down."""
        self.floor = threading.Lock()
        """Held while a heavy network computes on the processor: one keeps all threads busy, and a second call
        would take its memory besides."""
        self._looking = threading.Lock()

    @property
    def machine(self) -> engines.Machine:
        """The engines here; looked at once, when first needed."""
        with self._looking:
            return self._machine

    @cached_property
    def _machine(self) -> engines.Machine:
        return engines.machine()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a card is going to be run."""

    network: Network
    source: Network | None
    """The part that depends on the identity alone, where the file could be parted."""
    candidates: tuple[Candidate, ...]
    """The reference first."""
    facts: Mapping[str, str]
    """What a measured choice depends on."""
    notes: tuple[str, ...]
    """How the file was mended."""
    later: Candidate | None = None
    """What takes long to be made, and may then be better than all of them."""
    folder: Path | None = None
    """Where that is kept."""
    singly: bool = False
    """Whether rows come one at a time, and soon matters more than many."""

    @property
    def on_card(self) -> bool:
        """Whether it runs on an NVIDIA card."""
        return self.network.device.startswith("cuda")

    @property
    def heavy(self) -> bool:
        """Whether every batch size takes much memory."""
        return self.network.bytes > LARGE and not self.on_card

    @property
    def beside(self) -> int:
        """Rows that OpenVINO runs side by side; 0 where it does not."""
        if self.heavy:  # where there are more threads it is measured
            return PAIR if self.network.threads == PAIR else 0
        return self.network.abreast if self.network.abreast > 1 else 0

    def sizes(self, card: Card, device: Device, choice: Choice | None) -> tuple[int, ...]:
        """Batch sizes to cut into, falling to 1."""
        batch = device.batch or (choice.batch if choice else 1)
        if choice and choice.engine == "openvino" and not device.batch:
            batch = self.beside or batch
        if not batch:
            return card.batches
        if self.heavy:
            return (batch, 1) if batch > 1 and (device.batch or not self.singly) else (1,)
        halves = {max(1, batch >> k) for k in range(batch.bit_length())}
        return tuple(sorted(halves, reverse=True))

    def cost(self, card: Card, sizes: tuple[int, ...]) -> int:
        """Bytes of memory that it will take, estimated."""
        numbers = sum(math.prod(max(d, 0) for d in t.shape) for t in (*card.inputs, *card.outputs))
        # What a card holds serves every batch size, what is made for pairs single rows, too.
        copies = 1 if self.on_card or (self.heavy and sizes[0] == PAIR) else len(sizes)
        files = self.network.bytes * copies + (self.source.bytes if self.source else 0)
        return int(budget.COPIES * files + 4 * budget.LAYERS * numbers * sizes[0])


def plan(card: Card, setup: Setup) -> Plan:
    """Fetch, mend and look at a card's file.

    Raises:
        ModelError: The file cannot be had or read.
        RuntimeUnavailable: Nothing here does what is asked for.
    """
    path = setup.store.locate(card)[card.network.name]
    checksum = card.network.sha256 or setup.store.digest(card.network)
    kept = setup.store.home / "compiled"
    small = path.stat().st_size < engines.SMALL  # a card may not know the size
    threads, abreast = (1, min(ABREAST, setup.threads)) if small else (setup.threads, 1)
    graph = mend.Graph(path, None, (), True)
    if path.suffix not in (".tflite", ".xml"):
        graph = mend.mended(card, path, kept, Evaluator(threads))

    def network(file: Path) -> Network:
        own = "" if file == path else f" {file.name} {file.stat().st_size} {file.stat().st_mtime_ns}"
        stamp = checksum + own
        inputs, outputs, most = card.inputs, card.outputs, device.memory * 1_000_000
        return Network(
            card.name, file, stamp, inputs, outputs, threads, kept, graph.batched, where, most, abreast
        )

    here, device = setup.machine, setup.device
    where = engines.place(device, here) if path.suffix not in (".tflite", ".xml") else "cpu"
    main = network(graph.network)
    found, later = engines.candidates(card, main, device, here), engines.better(card, main, device, here)
    facts = {
        "card": card.name,
        "asked": f"{device.engine} {device.precision} {device.batch or 'auto'}",
        "processor": f"{here.processor} {' '.join(here.precisions)}",
        **({"device": f"{where} {' '.join(here.cards)} {here.driver}"} if where != "cpu" else {}),
        "threads": str(main.threads),
        "network": f"{checksum} {graph.network.name} {main.bytes}",
        "tolerance": repr(card.tolerance),
        "libraries": f"openvino {here.openvino}, {here.onnxruntime}{_torch(found, here)}",
        "candidates": ", ".join(map(str, found)),
        **({"later": str(later)} if later else {}),
    }
    source, folder = network(graph.source) if graph.source else None, None
    if later is not None:
        folder = tensorrt.folder(main, later)
    return Plan(main, source, found, facts, graph.notes, later, folder, setup.singly)


def _torch(found: tuple[Candidate, ...], here: engines.Machine) -> str:
    """Its version where it may run the network: to others it makes no difference."""
    return f", torch {here.torch}" if any(c.engine == "torch" for c in found) else ""

"""A session: one card's network, ready to run, whatever engine runs it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import numpy as np

from mien.errors import MienError, ModelError
from mien.images import operations
from mien.images.operations import is_tensor, namespace
from mien.models import choice as choosing
from mien.models import engines
from mien.models.budget import give_back
from mien.models.calls import chunks, ends, prepared
from mien.models.card import Card
from mien.models.choice import Book, Choice
from mien.models.engine import Call, Candidate, Engine
from mien.models.fit import ADVICE, Fit, MismatchError, fit, rows, same_shape
from mien.models.later import Later, Proof, Work, tried
from mien.models.later_child import Child
from mien.models.plan import BOOK, PLACE, Plan, Setup, plan
from mien.models.store import AGAIN
from mien.models.tally import Tally
from mien.types import Array, Float32


class Session:
    """A network ready to run; may be used from several threads.

    Batches of any size are cut into a few sizes, so that only these are ever compiled. With the first
    inputs the engines are measured, unless that was done before or one was asked for. An engine that takes
    long to be made takes over when it is ready, between two calls.

    Args:
        card: What to run.
        setup: What it shares with others.
    """

    def __init__(self, card: Card, setup: Setup) -> None:
        self.card = card
        self._setup = setup
        # Two locks: the gate is held while loading and choosing, and taken before anything else.
        self._gate = threading.Lock()
        self._lock = threading.Lock()
        self._turn: AbstractContextManager[object] = nullcontext()
        self._plan: Plan | None = None
        self._fit: Fit | None = None
        self._choice: Choice | None = None
        self._held = self._closed = False
        self._loaded: tuple[Candidate, Engine] | None = None
        self._maker: Engine | None = None
        self._idle: dict[tuple[bool, int, bool], list[Call]] = {}
        self._label = self._fallen = ""
        self._later: Later | None = None
        self.tally = Tally()

    @property
    def name(self) -> str:
        """Of the card."""
        return self.card.name

    @property
    def engine(self) -> str:
        """Name, version, device and precision of the engine; before the choice, of the reference."""
        return self._label

    @property
    def choice(self) -> Choice | None:
        """What runs it and why; None before the first run."""
        return self._choice

    @property
    def fallen(self) -> str:
        """Which engine that should have run it failed, and how; empty where none did."""
        asked = self._setup.device.engine
        if self._plan and self._plan.later and self._plan.later.engine == asked and self._later:
            return f"{self._plan.later}: it is not ready yet" if self._later.pending else self._fallen
        return self._fallen

    @property
    def notes(self) -> tuple[str, ...]:
        """How the file was mended."""
        return self._plan.notes if self._plan else ()

    def open(self) -> None:
        """Load the network, with the engine that was chosen or with the reference.

        Raises:
            ModelError: The file cannot be had or read, is not what the card says, or takes too much memory.
            RuntimeUnavailable: Nothing here does what is asked for.
        """
        with self._gate:
            if self._fit is not None:
                return
            # Nothing is held while the file is fetched and mended.
            self._planned()
            budget = self._setup.budget
            budget.enter(self)
            try:
                self._ready()
            finally:
                budget.leave(self)

    def condition(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Do once what depends on the identity alone.

        Args:
            inputs: Input name to (N, *shape on the card): those that depend on the identity.

        Returns:
            What `run` takes in their stead, N rows each; the inputs themselves where the network has no
            such part.

        Raises:
            ValueError: An input is absent or has another shape or type.
        """
        fits = self._fitted()
        if not fits.identity:
            return inputs
        given = {fits.own(name): array for name, array in inputs.items()}
        count = rows(self.card, fits, fits.identity, given)
        rest = {name: array for name, array in given.items() if name not in fits.identity}
        ready = fits.typed(fits.identity, given)
        if not count:  # what shapes no rows have only a row tells
            ready = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in ready.items()}
        with self._use():
            made = self._steps(ready, max(count, 1), (1,), maker=True)
        return {**rest, **{name: array[:count] for name, array in made.items()}}

    def run(self, inputs: Mapping[str, Array] | Array) -> dict[str, Float32]:
        """Run the network.

        Args:
            inputs: Input name to (N, *shape on the card) of the card's type; optional inputs have no batch
                axis and go to every row. Or the array alone where the card has one input. What `condition`
                returned takes the place of what it was given. Where one is a tensor, the others may be, too.

        Returns:
            Output name to float32 (N, *shape on the card), by the file's names in the file's order; tensors
            on the device of those that were given.

        Raises:
            ValueError: An input is absent or has another shape or type.
            ModelError: The engine fails, or the file gives other shapes than its card says.
        """
        fits = self._fitted()
        named = inputs if isinstance(inputs, Mapping) else {self.card.inputs[0].name: inputs}
        given: Mapping[str, Array] = {fits.own(name): array for name, array in named.items()}
        if not fits.made <= set(given):
            given = self.condition(given)
        count = rows(self.card, fits, fits.network, given)
        tensor = next((array for array in given.values() if is_tensor(array)), None)
        if tensor is not None:
            return self._on_device(fits, given, count, tensor)
        if not count:
            empty = {n: (0, *(max(d, 0) for d in t.shape)) for n, t in fits.outputs.items()}
            return {name: np.zeros(shape, np.float32) for name, shape in empty.items()}
        ready = fits.typed(fits.network, given)
        with self._use(ready, count):
            results = self._steps(ready, count, self._sizes())
        return self._checked(fits, results)

    def _on_device(
        self, fits: Fit, given: Mapping[str, Array], count: int, like: Array
    ) -> dict[str, Float32]:
        """The same from and to tensors."""
        there = operations.of(like)
        if not count:
            none = self.run({n: there.host(a) if is_tensor(a) else a for n, a in given.items()})
            return {name: there.like(array, like) for name, array in none.items()}
        ready = {name: there.like(array, like) for name, array in fits.typed(fits.network, given).items()}
        sample: Mapping[str, Array] = {}
        if self._choice is None or self._waits:
            sample = fits.typed(fits.network, {name: there.host(array) for name, array in ready.items()})
        with self._use(sample, count):
            return self._checked(fits, self._steps(ready, count, self._sizes()))

    def unload(self) -> None:
        """Let go of what was loaded; it is loaded again when it is needed."""
        with self._lock:
            self._held = False
            self._loaded = self._maker = None
            self._idle.clear()
        give_back()

    def close(self) -> None:
        """Let go of everything; `run` fails afterwards."""
        self._closed = True
        if self._later is not None:
            self._later.close()
        self.unload()
        self._setup.budget.release(self)

    # Inputs and outputs

    def _fitted(self) -> Fit:
        if self._fit is None:
            raise ValueError(f"{self.card.name}: expected a session that was opened")
        return self._fit

    def _checked(self, fits: Fit, results: Mapping[str, Array]) -> dict[str, Float32]:
        """The card's outputs, after checking their shapes."""
        for name, tensor in fits.outputs.items():
            if not same_shape(tensor.shape, results[name].shape[1:]):
                raise ModelError(
                    self.card.name,
                    f"{self.card.network.name} gives {name} (N, *{results[name].shape[1:]}), "
                    f"its card says (N, *{tensor.shape})",
                    ADVICE,
                )
        return {name: results[name] for name in fits.outputs}

    # Running

    def _sizes(self) -> tuple[int, ...]:
        """Batch sizes to cut into."""
        if self._plan is None or (self._fit is not None and self._fit.bare):
            return (1,)
        return self._plan.sizes(self.card, self._setup.device, self._choice)

    def _pads(self) -> bool:
        """Whether the engine fills up to its own sizes what does not fill them."""
        return self._loaded is not None and bool(getattr(self._loaded[1], "padded", False))

    def _steps(
        self, given: Mapping[str, Array], count: int, sizes: tuple[int, ...], maker: bool = False
    ) -> dict[str, Array]:
        """Run all rows, in batches of these sizes."""
        undivided = self._fitted().undivided
        with self._turn:
            parts = [
                self._step(
                    {n: a if n in undivided else a[start:end] for n, a in given.items()}, end - start, maker
                )
                for start, end in chunks(count, sizes, not maker and self._pads())
            ]
        join = namespace(next(iter(parts[0].values()))).concat
        return {name: join([part[name] for part in parts]) for name in parts[0]}

    def _step(self, given: Mapping[str, Array], batch: int, maker: bool) -> dict[str, Array]:
        """Run one batch on an idle copy, made where there is none."""
        tensor = next((array for array in given.values() if is_tensor(array)), None)
        key = (maker, batch, tensor is not None)
        with self._lock:
            engine = self._maker if maker else self._loaded and self._loaded[1]
            if self._closed or engine is None:
                raise ValueError(f"{self.card.name}: the session is closed")
            idle = self._idle.setdefault(key, [])
            call = idle.pop() if idle else prepared(engine, batch, tensor)
        try:
            with self.tally.call(batch, str(getattr(engine, "device", ""))):
                result = call(
                    {n: a if tensor is not None else np.ascontiguousarray(a) for n, a in given.items()}
                )
        except (MienError, MemoryError):
            raise
        except Exception as error:  # each engine has classes of its own
            raise ModelError(self.card.name, f"fails in {self._label}: {error}") from error
        with self._lock:
            # Meanwhile another engine may have taken over.
            if self._idle.get(key) is idle:
                idle.append(call)
        if not maker:
            for name in self._fitted().bare:
                result[name] = result[name][np.newaxis]
        return result

    @contextmanager
    def _use(self, sample: Mapping[str, Array] | None = None, count: int = 0) -> Iterator[None]:
        """Keep the network loaded; with a sample, and for the first time, choose what runs it."""
        # Whoever waits for gate or turn is not busy: what it has may be sent away, and nobody waits for it.
        budget = self._setup.budget
        with self._gate:
            undecided = sample is not None and self._choice is None
            with self._setup.turn if undecided else nullcontext():
                budget.enter(self)
                try:
                    self._ready()
                    if undecided:
                        self._choose(sample or {}, count)
                    if sample and self._waits:
                        self._begin(sample, count)
                except BaseException:
                    budget.leave(self)
                    raise
        try:
            yield
        finally:
            budget.leave(self)

    # Loading and choosing, behind the gate

    def _planned(self) -> Plan:
        if self._plan is None:
            self._plan = plan(self.card, self._setup)
            self._turn = self._setup.floor if self._plan.heavy else nullcontext()
            found, taken = self._plan.candidates, None
            if self._plan.folder is not None:
                taken = Book(self._plan.folder / BOOK).find(self._plan.facts)
            self._choice = taken or (
                Choice(found[0].engine, found[0].precision, way=found[0].way)
                if len(found) == 1
                else self._setup.book.find(self._plan.facts)
            )
        return self._plan

    def _ready(self) -> None:
        """Have the network loaded, as was chosen or as the reference."""
        if self._closed:
            raise ValueError(f"{self.card.name}: the session is closed")
        ours = self._planned()
        if not self._held:
            self._setup.budget.admit(self, ours.cost(self.card, self._sizes()))
            self._held = True
        if self._loaded is None:
            try:
                self._load_any(ours)
            except BaseException:
                self.unload()
                self._setup.budget.release(self)
                raise

    def _load_any(self, ours: Plan) -> None:
        """Load with the engine that was chosen; where it fails, or none was, with the first that can."""
        chosen = self._choice.candidate if self._choice else ours.candidates[0]
        problems: list[tuple[Candidate, MienError]] = []
        for candidate in (chosen, *(c for c in ours.candidates if c != chosen)):
            try:
                self._load(ours, candidate)
            except MismatchError:
                raise
            except MienError as error:
                problems.append((candidate, error))
                continue
            if problems:
                self._choice = None  # what was chosen is not to be had: measured anew
                self._fallen = f"{problems[0][0]}: {problems[0][1].problem}"
            return
        if len({candidate.engine for candidate, _ in problems}) == 1:  # in float32 it is no other
            raise problems[0][1]
        raise self._nothing((c, e.problem) for c, e in problems)

    def _load(self, ours: Plan, candidate: Candidate) -> Engine:
        """Load with one engine, after letting go of the one before."""
        with self._lock:
            self._loaded = None
            self._idle.clear()
        give_back()
        engine = engines.load(ours.network, candidate)
        if ours.source is not None and self._maker is None:
            self._maker = engines.load(ours.source, Candidate(ours.candidates[0].engine, "f32"))
        maker = self._maker
        fits = fit(
            self.card,
            engine.inputs,
            engine.outputs,
            maker.inputs if maker else {},
            maker.outputs if maker else {},
        )
        self._fit = fits
        sizes = self._sizes()
        engine.keep(sizes)
        call = engine.prepare(sizes[0])
        give_back()  # what reading and packing the weights has left over
        with self._lock:
            self._idle[False, sizes[0], False] = [call]
            self._loaded = (candidate, engine)
        self._label = engine.label
        if self._choice is not None:
            self._choice = replace(self._choice, label=engine.label)
        return engine

    def _as(self, candidate: Candidate) -> Engine:
        """The engine of a candidate, loaded where it is not."""
        if self._loaded is not None and self._loaded[0] == candidate:
            return self._loaded[1]
        return self._load(self._planned(), candidate)

    def _choose(self, sample: Mapping[str, Array], count: int) -> None:
        """Measure all candidates on real inputs, keep what was found, and load the best."""
        ours, samples = self._planned(), ends(sample, count, self._fitted().undivided)
        best, trials = choosing.compare(
            ours.candidates, lambda candidate: self._as(candidate).prepare(1), samples, self.card.tolerance
        )
        if best is None:
            raise self._nothing((t.candidate, t.problem) for t in trials)
        found = Choice(best.engine, best.precision, best.ms, best.error, trials=trials, way=best.way)
        engine = self._as(found.candidate)
        if not self._setup.device.batch:
            batch, ms = self._batch(ours, engine, found, samples)
            found = replace(found, batch=batch, ms=ms)
        self._choice = replace(found, label=engine.label)
        self._setup.book.add(ours.facts, self._choice, PLACE)
        engines.discard(ours.network, {trial.candidate for trial in trials} - {found.candidate})
        sizes = self._sizes()
        if len(sizes) > 1:  # it now takes more memory than it was let in with
            self.unload()
            self._setup.budget.release(self)
            self._ready()
        else:
            with self._lock:
                self._idle = {key: calls for key, calls in self._idle.items() if key[0] or key[1] in sizes}
            engine.keep(sizes)
            give_back()

    def _batch(
        self, ours: Plan, engine: Engine, found: Choice, samples: list[Mapping[str, Array]]
    ) -> tuple[int, float]:
        """Rows at once, and milliseconds a row."""
        counts = choosing.batches(ours.on_card, ours.heavy)
        most, fits = max(counts), self._fitted()
        sizes = ours.sizes(self.card, self._setup.device, replace(found, batch=most))
        if fits.bare or (found.engine == "openvino" and ours.beside):
            return 1, found.ms
        if ours.cost(self.card, sizes) > self._setup.budget.limit or not engine.joins(most):
            return 1, found.ms
        given = samples, fits.undivided, found.ms, self.card.tolerance
        return choosing.best_batch(engine.prepare, *given, counts)

    def _nothing(self, problems: Iterable[tuple[Candidate, str]]) -> ModelError:
        """That no engine runs the file, and why."""
        reasons = "; ".join(f"{candidate}: {problem}" for candidate, problem in problems)
        return ModelError(self.card.name, f"no engine runs {self.card.network.name} ({reasons})", AGAIN)

    # A better engine, in its own thread

    @property
    def _waits(self) -> bool:
        """Whether a better engine is wanted, and nobody makes it yet."""
        if self._plan is None or self._plan.later is None or self._later is not None:
            return False
        return self._choice is None or self._choice.candidate != self._plan.later

    def _begin(self, sample: Mapping[str, Array], count: int) -> None:
        """Have the better engine made by another process."""
        ours = self._planned()
        if ours.later is None or ours.folder is None or self._closed:
            return
        first = ours.candidates[0]
        reference = first if first.exact else Candidate("onnxruntime", "f32")
        undivided = self._fitted().undivided
        samples = tuple(ends(sample, count, undivided))
        work = Work(ours.network, ours.later, reference, samples, self._sizes(), undivided)
        self._later = Later(work, ours.folder, Child(), self._adopt, self._refuse)
        self._later.start()

    def _refuse(self, problem: str) -> None:
        self._fallen = f"{self._planned().later}: {problem}"

    def _adopt(self, proof: Proof) -> None:
        """Load the better engine, see that it is right and quicker, and let it take over."""
        ours, candidate, old = self._planned(), self._planned().later, self._choice
        if candidate is None or self._later is None:
            return
        engine = engines.load(ours.network, candidate)
        maker = self._maker
        # The same file: a provider that changes its names or shapes must not be used.
        fit(self.card, engine.inputs, engine.outputs, *((maker.inputs, maker.outputs) if maker else ()))
        with self._setup.turn:
            trial = tried(engine, candidate, proof, self.card.tolerance)
            quicker = candidate.engine == self._setup.device.engine or trial.ms < (
                1.0 - choosing.GAIN
            ) * self._pace(proof)
        trials = (*(old.trials if old else ()), trial)
        if not quicker:
            with self._lock:
                self._choice = replace(self._choice, trials=trials) if self._choice else None
            return
        batch = old.batch if old else 0
        found = Choice(
            candidate.engine, candidate.precision, trial.ms, trial.error, batch, engine.label, trials,
            candidate.way,
        )  # fmt: skip
        sizes = self._sizes()
        ready: dict[tuple[bool, int, bool], list[Call]] = {
            (False, size, False): [engine.prepare(size)] for size in sizes
        }
        with self._lock:
            if self._closed or self._later.closed:
                return
            if self._loaded is not None:  # else it is loaded when it is needed
                self._loaded = (candidate, engine)
                self._idle = ready | {key: calls for key, calls in self._idle.items() if key[0]}
                self._label = engine.label
            self._choice = found
        if ours.folder is not None:
            Book(ours.folder / BOOK).add(ours.facts, found, PLACE)

    def _pace(self, proof: Proof) -> float:
        """Milliseconds a row of the engine that works."""
        with self._lock:
            call = self._loaded[1].prepare(1) if self._loaded else None
        if call is None:
            return self._choice.ms if self._choice and self._choice.ms else float("inf")
        return choosing.timed(call, proof.samples)[1]

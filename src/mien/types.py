"""The central types: frozen dataclasses over arrays, validated where they are built.

Coordinates: **display pixels** unless a name says otherwise. Display space is the picture as a viewer
sees it: rotated upright, square pixels. Its origin is the outer corner of the top-left pixel, so the
centre of pixel (column i, row j) lies at (i + 0.5, j + 0.5) and scaling is plain multiplication.
A box is (left, top, right, bottom). The five points are: image-left eye, image-right eye, nose tip,
image-left and image-right mouth corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

Array: TypeAlias = NDArray[Any]
Float64: TypeAlias = NDArray[np.float64]
Float32: TypeAlias = NDArray[np.float32]
Int64: TypeAlias = NDArray[np.int64]

DENSE = 468
"""Number of dense landmarks of a face; rows of a track may have a landmarker's 68 points behind them."""


def _expect(name: str, value: Array, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError where `value` has not the wanted shape (None: any length)."""
    fits = value.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {value.shape}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples lie in memory: a pixel format, described."""

    name: str
    """FFmpeg's name of the pixel format, such as `yuv420p10le`."""
    model: Literal["yuv", "gray", "rgb"]
    """What the components are: Y'CbCr, luma alone, or R'G'B'."""
    depth: int
    """Bits of one sample, 8 to 16; samples over 8 bits lie in the low bits of a uint16."""
    planes: tuple[tuple[int, ...], ...]
    """The components stored in each plane, in stored order: yuv420p ((0,), (1,), (2,)),
    nv12 ((0,), (1, 2)), rgba ((0, 1, 2, 3),), gbrp ((1,), (2,), (0,)). Component 3 is alpha."""
    chroma: tuple[int, int] = (0, 0)
    """log2 of the horizontal and vertical subsampling of components 1 and 2."""

    def __post_init__(self) -> None:
        if not 8 <= self.depth <= 16:
            raise ValueError(f"depth: expected 8 to 16, got {self.depth}")

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of one sample."""
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def alpha(self) -> bool:
        """Whether there is an alpha component."""
        return any(3 in plane for plane in self.planes)

    def plane_shape(self, plane: int, width: int, height: int) -> tuple[int, ...]:
        """Shape of a plane's array for a coded picture: (rows, columns[, components])."""
        parts = self.planes[plane]
        if self.model == "yuv" and (1 in parts or 2 in parts):
            width, height = -(-width >> self.chroma[0]), -(-height >> self.chroma[1])
        return (height, width) if len(parts) == 1 else (height, width, len(parts))


@dataclass(frozen=True, slots=True)
class Colour:
    """What the samples mean."""

    matrix: Literal["bt601", "bt709", "bt2020", "rgb"] = "bt709"
    """R'G'B' to Y'CbCr matrix (BT.601, BT.709, BT.2020 non-constant luminance)."""
    full_range: bool = False
    """Full (0..2^n-1) instead of limited ("TV") range."""
    siting: Literal["left", "center", "topleft"] = "left"
    """Where a subsampled chroma sample sits relative to luma."""
    transfer: int = 2
    """ITU-T H.273 transfer characteristics code; 2 is unspecified, 16 PQ, 18 HLG."""
    primaries: int = 2
    """ITU-T H.273 colour primaries code; 2 is unspecified."""
    matrix_code: int = 2
    """ITU-T H.273 matrix code as tagged in the input; 2 is unspecified (`matrix` is then inferred)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as the codec made it, with its exact time.

    `planes` are writable views when the pipeline owns the frame; only `images.paste` writes.
    """

    planes: tuple[Array, ...]
    """One array a plane, rows first, uint8 or uint16: NumPy's, or torch tensors on one device."""
    layout: Layout
    colour: Colour
    pts: int
    """Presentation time in units of the clip's time base; always on the CPU."""
    index: int
    """Position in presentation order, from 0, within the whole clip."""
    display: Float64
    """(2, 3) affine from coded pixels to display pixels: rotation, mirroring, pixel aspect."""
    owner: object = field(default=None, repr=False)
    """The codec's own buffer behind the views, kept alive and handed back to the encoder."""

    def __post_init__(self) -> None:
        if len(self.planes) != len(self.layout.planes):
            raise ValueError(
                f"planes: expected {len(self.layout.planes)} for {self.layout.name}, got {len(self.planes)}"
            )
        _expect("display", self.display, (2, 3))
        for k, plane in enumerate(self.planes):
            wanted = self.layout.plane_shape(k, self.width, self.height)
            # By name: a tensor's type says torch.uint8, and torch is not to be imported for it.
            if plane.shape != wanted or str(plane.dtype).removeprefix("torch.") != self.layout.dtype.__name__:
                raise ValueError(
                    f"plane {k}: expected {wanted} {self.layout.dtype.__name__}, "
                    f"got {plane.shape} {plane.dtype}"
                )

    @property
    def width(self) -> int:
        """Coded width in pixels."""
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        """Coded height in pixels."""
        return int(self.planes[0].shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Display width and height in pixels, rounded."""
        corners = np.array([[0, 0], [self.width, self.height]], float) @ self.display[:, :2].T
        w, h = np.abs(corners[1] - corners[0])
        return round(w), round(h)


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces as columns, one row a face. Indexing with a mask, slice or index array gives `Faces`."""

    frame: Int64
    """(F,) index of the frame each face is in."""
    box: Float64
    """(F, 4) left, top, right, bottom in display pixels."""
    points: Float64
    """(F, 5, 2) the five points in display pixels."""
    score: Float64
    """(F,) confidence, 0 to 1."""
    dense: Float64 | None = None
    """(F, N, 3) dense landmarks; x and y in display pixels, z in the same scale, smaller is nearer."""
    embedding: Float32 | None = None
    """(F, D) identity embedding, unit length."""
    track: Int64 | None = None
    """(F,) id of the track each face belongs to."""

    def __post_init__(self) -> None:
        n = len(self.frame)
        _expect("frame", self.frame, (n,))
        _expect("box", self.box, (n, 4))
        _expect("points", self.points, (n, 5, 2))
        _expect("score", self.score, (n,))
        if self.dense is not None:
            _expect("dense", self.dense, (n, None, 3))
        if self.embedding is not None:
            _expect("embedding", self.embedding, (n, None))
        if self.track is not None:
            _expect("track", self.track, (n,))

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: slice | Array | Sequence[int]) -> Faces:
        picked: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            picked[f.name] = None if value is None else value[rows]
        return Faces(**picked)

    @classmethod
    def empty(cls) -> Faces:
        """No faces."""
        none = np.zeros(0)
        return cls(
            none.astype(np.int64), np.zeros((0, 4)), np.zeros((0, 5, 2)), none, np.zeros((0, DENSE, 3))
        )

    @classmethod
    def concat(cls, parts: Sequence[Faces]) -> Faces:
        """Faces of all parts, in order; an optional column survives if every non-empty part has it."""
        parts = [p for p in parts if len(p)]
        if not parts:
            return cls.empty()
        columns: dict[str, Any] = {}
        for f in fields(cls):
            values = [getattr(p, f.name) for p in parts]
            columns[f.name] = None if any(v is None for v in values) else np.concatenate(values)
        return cls(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face followed through consecutive frames of one shot.

    Row k belongs to frame `start + k`; rows without an observation were filled in.
    """

    id: int
    start: int
    """Index of its first frame."""
    box: Float64
    """(n, 4) display pixels."""
    points: Float64
    """(n, 5, 2) display pixels."""
    score: Float64
    """(n,) landmark confidence, 0 to 1."""
    observed: NDArray[np.bool_]
    """(n,) whether a network saw the face in that frame."""
    shot: int = 0
    """Number of the shot, from 0."""
    person: int = 0
    """Number of the person: tracks that show the same human being share it."""
    look: Float32 | None = None
    """(4, P) how the face looks, as `faces.likeness` reads it; None where it is too small for that."""
    embedding: Float32 | None = None
    """(D,) who it is: robust mean of a few embeddings, not scaled; None where nobody asked."""

    def __post_init__(self) -> None:
        n = len(self.box)
        if n == 0:
            raise ValueError("track: expected at least one row, got 0")
        _expect("box", self.box, (n, 4))
        _expect("points", self.points, (n, 5, 2))
        _expect("score", self.score, (n,))
        _expect("observed", self.observed, (n,))
        if self.look is not None:
            _expect("look", self.look, (4, None))
        if self.embedding is not None:
            _expect("embedding", self.embedding, (None,))

    def __len__(self) -> int:
        return len(self.box)

    @property
    def end(self) -> int:
        """Index after its last frame."""
        return self.start + len(self)


class Rows(Protocol):
    """Dense landmarks of one track, read a few rows at a time: an array, or a view of a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Array:
        """(k, N, 3): x, y in display pixels, z in the same scale, for a slice of the track's rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """What pass one knows about a clip: saved, edited, reused."""

    frames: int
    """Number of frames of the clip."""
    size: tuple[int, int]
    """Display width and height in pixels."""
    shots: tuple[int, ...]
    """Index of the first frame of every shot; begins with 0."""
    tracks: tuple[Track, ...]
    """In order of id."""
    dense: Mapping[int, Rows]
    """Track id to its smoothed dense landmarks, and behind them the 68 points of a second landmarker where
    there was one."""
    clip: str = ""
    """Fingerprint of the clip they belong to."""
    embedder: str = ""
    """Card of the network that gave the tracks' embeddings; empty where none did."""

    def at(self, index: int, ids: Sequence[int] | None = None) -> Faces:
        """The faces of one frame, optionally of some tracks only, dense landmarks included."""
        rows = [
            (t, index - t.start)
            for t in self.tracks
            if t.start <= index < t.end and (ids is None or t.id in ids)
        ]
        if not rows:
            return Faces.empty()
        return Faces(
            frame=np.full(len(rows), index, np.int64),
            box=np.stack([t.box[k] for t, k in rows]),
            points=np.stack([t.points[k] for t, k in rows]),
            score=np.array([t.score[k] for t, k in rows]),
            dense=np.concatenate([self.dense[t.id][k : k + 1] for t, k in rows])[:, :DENSE].astype(float),
            track=np.array([t.id for t, _ in rows], np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """One view of a source face, cut out of its picture."""

    rgb: Float32
    """(H, W, 3) R'G'B' in [0, 1]."""
    dense: Float64
    """(N, 3) dense landmarks in pixels of `rgb`."""
    mirrored: Float64 | None = None
    """(N, 3) landmarks found in the mirror image of `rgb`, in its pixels: it shows the hidden side."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Who somebody becomes."""

    name: str
    portraits: tuple[Portrait, ...]
    """Reference crops, the largest first."""
    embeddings: Mapping[str, Float32] = field(default_factory=dict)
    """Name of an embedder's card to the (D,) robust mean of the portraits' embeddings, each of length 1;
    scaled to their mean length."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames [start, end): the unit of work, resume and distribution."""

    number: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"segment: expected 0 <= start < end, got [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Started:
    """Work on a job has begun."""

    job: str
    """The job's id; empty where no state is kept (pictures, animations, an analysis)."""
    folder: Path
    """Where the job's state is kept; without an id, the folder of the output."""
    frames: int
    """Frames or pictures to go through, those of earlier runs included."""
    resumed: int = 0
    """Frames that an earlier run had already finished."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one stage is."""

    stage: str
    done: int
    total: int
    """Frames or pictures; bytes in the stage `models`, which fetches."""
    fps: float
    """Frames a second in this stage; 0 where it has none."""
    eta: float
    """Seconds left in this stage, as far as can be told; 0 where it cannot."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something was done otherwise than asked, or cannot be done as well as hoped."""

    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What was done. The last event of a verb."""

    output: Path | str
    """The file or folder; where a live run went to an address, that."""
    frames: int
    """Frames or pictures written; of an analysis, looked at."""
    faces: int
    """Faces changed, counted once a frame; of an analysis, found."""
    people: int
    """Persons changed or found. Who is not surely the same after a cut counts again; nobody is recognised in
    another picture, so of several pictures this is the most in any one of them."""
    seconds: float
    fps: float
    """Frames a second over the whole run, without those that an earlier run had finished."""
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Stage name to `{"ms_per_frame": ..., "cpu_ms_per_frame": ..., "percent": ...}`."""
    engines: Mapping[str, str] = field(default_factory=dict)
    """Card name to engine and precision."""
    networks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Card name to `{"ms_per_frame": ..., "calls": ..., "ms_per_call": ..., "items": ...}`."""
    carried: int = 0
    """Faces changed in this run that networks did not make, but that were carried from frames near by
    (`swap.every`)."""
    content: str = ""
    """What was done about explicit content: judged by which networks, or why not."""
    moments: int | None = None
    """Of a review, how many stretches look bad."""
    persons: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of an analysis, `person1` and so on to `{"seconds": ..., "first": ..., "shots": ..., "tracks": [...]}`:
    time on screen, first appearance as a clock time, number of shots, track ids."""


Event: TypeAlias = Started | Progress | Warned | Finished

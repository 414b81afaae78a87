"""Which parts of a card's video engine a job uses: asked of the engine itself, and said where it refuses."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from mien.errors import RuntimeUnavailable
from mien.media import nvdec, nvenc
from mien.media.decode import refusal
from mien.media.hardware import VideoEngine
from mien.media.plan import EncodePlan
from mien.models import nvidia
from mien.run.render import Footage
from mien.settings import Device, Encode
from mien.types import Warned

ENCODER = "encode"
"""Under which name a job's folder keeps what its segments were encoded by, beside its networks' engines."""


def decoding(film: Footage, device: Device, pixels: str) -> Generator[Warned, None, VideoEngine | None]:
    """The video engine that decodes; None for the processor.

    Args:
        film: What is decoded.
        device: `decode` and `processor` count.
        pixels: Where frames are changed, as torch names it; empty for the processor.

    Raises:
        RuntimeUnavailable: A card is asked for, and none decodes this.
    """
    if device.decode == "cpu" or (device.decode == "auto" and not pixels):
        return None
    engine = VideoEngine(_card(device), pixels)
    why = nvdec.unsuited(film.clip)
    if why and device.decode == "auto":
        return None  # nothing failed: no card does that
    why = why or _absent(engine.card, pixels) or refusal(film.clip, film.index, engine, film.start)
    if not why:
        return engine
    if device.decode == "card":
        problem = f"no card decodes {film.clip.path.name}: {why}"
        raise RuntimeUnavailable("device.decode", problem, "Use auto or cpu.")
    yield Warned(str(film.clip.path), f"is decoded by the processor, not by the card: {why}")
    return None


def encoding(
    made: EncodePlan, film: Footage, encode: Encode, device: Device, pixels: str, began: str
) -> Generator[Warned, None, EncodePlan]:
    """The plan by which all segments of a job are written: with a card's encoder, or as it is.

    Args:
        made: The plan for the processor.
        film: What is encoded.
        encode: The settings of the plan.
        device: `encode` and `processor` count.
        pixels: Where frames are changed, as torch names it; empty for the processor.
        began: What encoded the job's finished segments, as `note` has it; empty where there are none.

    Raises:
        RuntimeUnavailable: A card is asked for, and none encodes this.
    """
    if device.encode == "cpu" or (device.encode == "auto" and (not pixels or began == _label(made))):
        return made
    why = nvenc.unsuited(made, film.clip, encode)
    if why and device.encode == "auto":
        return made
    card = _card(device)
    why = why or _absent(card, pixels)
    if not why:
        ours = nvenc.on_card(made, film.clip, encode, card, pixels)
        why = nvenc.refusal(ours, film.clip)
        if not why:
            return ours
    if device.encode == "card":
        problem = f"no card encodes {made.output.name}: {why}"
        raise RuntimeUnavailable("device.encode", problem, "Use auto or cpu.")
    yield Warned(str(made.output), f"is encoded by the processor ({made.encoder}), not by the card: {why}")
    return made


def note(made: EncodePlan) -> Mapping[str, str]:
    """What a job's folder keeps about the encoder of its segments, which all have to share it."""
    return {ENCODER: _label(made)}


def _label(made: EncodePlan) -> str:
    return made.encoder if made.card is None else f"{made.encoder} on cuda:{made.card}"


def _card(device: Device) -> int:
    """CUDA's number of the card."""
    return int(device.processor.partition(":")[2] or 0)


def _absent(card: int, pixels: str) -> str:
    """Why there can be no engine; empty where there may be one."""
    return "" if pixels or card < len(nvidia.driver().cards) else f"there is no NVIDIA card {card}"

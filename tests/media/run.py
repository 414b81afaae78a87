"""The whole way through the media floor, as the pipeline walks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.media.clip import index, probe
from mien.media.decode import frames
from mien.media.encode import EncodePlan, SegmentWriter, plan, schedule
from mien.media.join import Joined, join
from mien.settings import Encode
from mien.types import Frame


def transcode(
    source: Path,
    output: Path,
    folder: Path,
    encode: Encode | None = None,
    *,
    start: str = "",
    end: str = "",
    seconds: float = 0.5,
    change: Callable[[Frame], None] | None = None,
    xmp: bytes = b"",
    metadata: dict[str, str] | None = None,
) -> tuple[Joined, EncodePlan, list[Path]]:
    """Decodes and encodes a clip in segments and joins them."""
    clip = probe(source)
    known = index(clip)
    first = known.frame_at(start, clip) if start else 0
    last = known.frame_at(end, clip) if end else None
    made = plan(clip, known, encode or Encode(preset="fastest"), output, start=first, end=last, threads=2)
    folder.mkdir(exist_ok=True, parents=True)
    parts = []
    for segment in known.segments(made.start, made.end, seconds):
        part = folder / f"{segment.number:05}.seg"
        times = schedule(made, known, clip, segment.start, segment.end)
        with SegmentWriter(part, made, times) as writer:
            for frame in frames(clip, known, segment.start, segment.end, threads=2):
                if change is not None:
                    change(frame)
                writer.write(frame)
        parts.append(part)
    return join(made, parts, clip, known, xmp=xmp, metadata=metadata), made, parts

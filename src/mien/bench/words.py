"""A bench report as text for a terminal and as Markdown, and two of them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from mien.bench.report import MARK, NONE, SAID, Net, Report, Row

HEAD = ("stage", "ms/frame", "percent", "device", "engine", "precision")
NET_HEAD = ("network", "ms/frame", "calls", "ms/call", "batch", "engine")
GPU = "GPU ms"
"""Heading of the column of times on the card, which is there where anything ran on one."""
Table = tuple[Sequence[str], list[Sequence[str]]]


def stages(report: Report) -> Table:
    """Heading and lines of the table of stages; parts of a row follow it, indented."""
    lines: list[Sequence[str]] = []
    card = any(row.gpu_ms_per_frame for row in report.rows)
    for row in report.rows:
        lines.append((*_stage(row), f"{row.gpu_ms_per_frame:.2f}") if card else _stage(row))
        lines += [
            (f"  - {name}", f"{ms:.2f}", *[""] * (len(HEAD) - 2 + card)) for name, ms in row.parts.items()
        ]
    return (*HEAD, GPU) if card else HEAD, lines


def _stage(row: Row) -> Sequence[str]:
    return (
        *(row.name, f"{row.ms_per_frame:.2f}", f"{row.percent:.1f}"),
        *(row.device, row.engine, row.precision),
    )


def networks(found: Sequence[Net]) -> Table:
    """Heading and lines of the table of networks."""
    card = any(net.gpu_ms_per_frame for net in found)
    lines = [
        (
            *(net.card, f"{net.ms_per_frame:.2f}", f"{net.calls:.0f}", f"{net.ms_per_call:.2f}"),
            *(f"{net.batch:g}", net.engine),
            *([f"{net.gpu_ms_per_frame:.2f}"] if card else []),
        )
        for net in found
    ]
    return (*NET_HEAD, GPU) if card else NET_HEAD, list(lines)


def facts(report: Report) -> list[tuple[str, str]]:
    """Everything that is no table: name and value."""
    clip, pace = report.clip, report.pace
    steady = f"{pace.steady_ms:.1f} ms/frame ({1000 / pace.steady_ms:.2f} fps)" if pace.steady_ms else ""
    ratio = "no networks were timed"
    if report.networks_ms:
        basis = "steady" if pace.steady_ms else "whole run"
        ratio = f"{report.over_networks:.2f} ({basis}; networks {report.networks_ms:.1f} ms/frame)"
    gpu = report.gpu if report.gpu == "none" else f"{report.gpu}, {report.gpu_percent:.0f} %"
    return [
        ("date", report.date),
        ("machine", ", ".join(report.machine.values())),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("clip", f"{clip.name}, {clip.width}x{clip.height}, {clip.rate:g} fps"),
        ("work", f"{report.frames} frames, {report.faces} faces"),
        ("wall", f"{pace.seconds:.2f} s, {report.fps:.2f} fps, {report.wall_ms:.1f} ms/frame"),
        ("start-up", f"{pace.startup:.2f} s"),
        ("steady", steady or "the clip is too short to tell"),
        ("wall over networks", ratio),
        ("CPU use", f"{report.cpu_percent:.0f} % of {report.threads} threads"),
        ("GPU use", gpu),
        ("peak memory", f"{report.peak_mb:.0f} MB" if report.peak_mb else "not known"),
    ]


def text(report: Report) -> str:
    """For a terminal. Stages in different threads overlap: together they may take longer than the run."""
    width = max(len(name) for name, _ in facts(report))
    lines = [f"{name:<{width}}  {value}" for name, value in facts(report)]
    lines = [SAID, *lines] if report.standins else lines
    for heading, body in (stages(report), networks(report.networks)):
        if body:
            lines += ["", *aligned(heading, body)]
    return "\n".join(marked(lines, report))


class Told(Protocol):
    """Something that was measured."""

    @property
    def standins(self) -> tuple[str, ...]:
        """Cards that were stand-ins."""


def marked(lines: Sequence[str], report: Told) -> Iterator[str]:
    """Lines that say what they are about where stand-ins ran."""
    for line in lines:
        yield f"{MARK} | {line}".rstrip() if report.standins else line


def aligned(heading: Sequence[str], body: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Columns of equal width: the first `left` and those with words to the left, numbers to the right."""
    table = [heading, *body]
    widths = [max(len(line[k]) for line in table) for k in range(len(heading))]
    out = []
    for line in table:
        cells = [
            f"{cell:>{width}}" if _number(k, body, left) else f"{cell:<{width}}"
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.append("  ".join(cells).rstrip())
    return out


def _number(column: int, body: Sequence[Sequence[str]], left: int) -> bool:
    """Whether a column holds numbers only."""
    if column < left:
        return False
    words = [line[column].rstrip("x") for line in body if line[column] not in ("", NONE)]
    return bool(words) and all(word.replace(".", "", 1).isdigit() for word in words)


def markdown(report: Report) -> str:
    """As Markdown. Where stand-ins ran, every line with words or numbers says so."""
    note = f" ({MARK} run)" if report.standins else ""
    lines = [f"# mien bench{note}", ""]
    if report.standins:
        lines += [f"All numbers are of {SAID}.", ""]
    lines += [f"- {name}: {value}{note}" for name, value in facts(report)]
    for heading, body in (stages(report), networks(report.networks)):
        if body:
            lines += ["", *piped(heading, body, report)]
    return "\n".join(lines) + "\n"


def piped(heading: Sequence[str], body: Sequence[Sequence[str]], report: Report) -> Iterator[str]:
    """A Markdown table; with a column of its own for what stand-ins must say."""
    extra = (f"{MARK} run",) if report.standins else ()
    yield _line((*heading, *extra))
    yield _line(
        [*("--:" if _number(k, body, 1) else "---" for k in range(len(heading))), *("---" for _ in extra)]
    )
    for cells in body:
        itself = any(MARK in cell for cell in cells)
        note = (MARK if itself else f"{MARK} run",) if report.standins else ()
        yield _line((*(cell.replace("|", "\\|") for cell in cells), *note))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def compared(first: tuple[str, Report], second: tuple[str, Report]) -> str:
    """Two reports side by side, with the second over the first: names and reports."""
    (name, before), (other, after) = first, second
    body = [(what, _shown(a), _shown(b), _ratio(a, b)) for what, a, b in _pairs(before, after) if a or b]
    lines = aligned(("", name, other, "ratio"), body)
    if before.clip != after.clip:
        lines.append(f"different clips: {before.clip.name}, {after.clip.name}")
    if before.machine != after.machine:
        lines.append("different machines")
    if bool(before.standins) != bool(after.standins):
        lines.append("only one of them ran on stand-ins")
    return "\n".join(marked(lines, before if before.standins else after))


def _pairs(before: Report, after: Report) -> Iterator[tuple[str, float, float]]:
    """What is compared: name and both numbers; 0 where a report has none."""
    yield "wall ms/frame", before.wall_ms, after.wall_ms
    yield "steady ms/frame", before.pace.steady_ms, after.pace.steady_ms
    yield "start-up s", before.pace.startup, after.pace.startup
    yield "fps", before.fps, after.fps
    left, right = ({row.name: row.ms_per_frame for row in one.rows} for one in (before, after))
    for name in dict.fromkeys((*left, *right)):
        yield f"{name} ms/frame", left.get(name, 0.0), right.get(name, 0.0)
    mine, other = ({net.card: net.ms_per_frame for net in one.networks} for one in (before, after))
    for name in dict.fromkeys((*mine, *other)):
        yield f"{name} ms/frame (network)", mine.get(name, 0.0), other.get(name, 0.0)
    yield "wall over networks", before.over_networks, after.over_networks
    yield "CPU %", before.cpu_percent, after.cpu_percent
    yield "GPU %", before.gpu_percent, after.gpu_percent
    yield "peak MB", before.peak_mb, after.peak_mb


def _shown(value: float) -> str:
    return f"{value:.2f}" if value else NONE


def _ratio(before: float, after: float) -> str:
    return f"{after / before:.3f}" if before and after else NONE

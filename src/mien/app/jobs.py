"""`mien jobs`: what lies in the folder of jobs."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mien.app.show import duration
from mien.errors import JobError
from mien.run.job import Entry, Folder, entries, find, remove
from mien.run.place import jobs_home, tracks_home


def folder(name: str) -> Folder:
    """The folder of a job by id or path; without a name, of the only stopped one.

    Raises:
        JobError: There is none, or several.
    """
    if name:
        return find(jobs_home(), name)
    stopped = [entry for entry in entries(jobs_home()) if entry.state == "stopped"]
    if len(stopped) != 1:
        problem = f"{len(stopped)} jobs wait to be continued"
        raise JobError("jobs continue", problem, "Name one by its id; `mien jobs` lists them.")
    return Folder(stopped[0].folder)


def show(as_json: bool) -> int:
    """List all jobs."""
    found = entries(jobs_home())
    if as_json:
        for entry in found:
            print(json.dumps({**dataclasses.asdict(entry), "folder": str(entry.folder)}, ensure_ascii=False))
        return 0
    if not found:
        print(f"no jobs in {jobs_home()}")
        return 0
    Console(highlight=False).print(_table(found))
    return 0


def _table(found: tuple[Entry, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "age", "segments", "MB", "target", "output"):
        table.add_column(name, overflow="fold" if name in ("target", "output") else "ellipsis")
    for entry in found:
        table.add_row(
            entry.id[:12],
            entry.state,
            duration(time.time() - entry.created),
            str(entry.segments),
            f"{entry.bytes / 1e6:.1f}",
            Path(entry.target).name,
            entry.output,
        )
    return table


def clean(name: str) -> int:
    """Remove one job's folder, or those of all jobs that are not running and the saved analyses.

    While a job is running the analyses stay: it may be reading one of them.
    """
    home = jobs_home()
    running = 0
    if name:
        path = find(home, name).path
        chosen = [entry for entry in entries(path.parent) if entry.folder == path]
    else:
        found = entries(home)
        chosen = [entry for entry in found if entry.state != "running"]
        running = len(found) - len(chosen)
    freed = sum(remove(entry) for entry in chosen)
    freed += 0 if name or running else _forget()
    print(f"removed {len(chosen)} job{'' if len(chosen) == 1 else 's'}, {freed / 1e6:.1f} MB")
    if running:
        print(f"kept: {running} running, and the saved analyses")
    return 0


def _forget() -> int:
    """Remove the saved analyses; returns the bytes this freed."""
    freed = 0
    for path in tracks_home().glob("*.tracks"):
        freed += path.stat().st_size
        path.unlink()
    return freed

"""`mien models`: the default models and where they lie."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from mien.models.mediapipe import CARDS
from mien.models.store import Store


def fetch() -> Store:
    """A store that has all default models; shows a bar while some are being got."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def on_progress(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        store = Store(on_progress=on_progress)
        for card in CARDS:
            store.locate(card)
    return store


def show(path_only: bool) -> int:
    """List the models, getting absent ones first."""
    if path_only:
        print(Store().folder)
        return 0
    store = fetch()
    for card in CARDS:
        for name, path in store.locate(card).items():
            print(f"{card.name}: {card.licence}, {path.stat().st_size:,} bytes, {path.parent / name}")
    return 0

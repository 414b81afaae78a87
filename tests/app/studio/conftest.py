"""A headless Chromium, and the real server with a small clip of two people."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mien.models.store import Store
from mien.run import verbs
from mien.run.project import Project, read
from mien.settings import Settings
from mien.types import Finished
from tests.media.makers import Sound
from tests.regression import scenes

pytest.importorskip("fastapi", reason="the studio's packages are not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import uvicorn  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright  # noqa: E402

from mien.app.server.main import create  # noqa: E402

FRAMES = 40
expect.set_options(timeout=30_000)  # a machine may be busy


@pytest.fixture(scope="package")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts the system's Chromium, without a window and with a fake camera; takes more arguments for it.

    While Playwright lives, its event loop counts as running in this thread: it cannot be started a second
    time, and `asyncio.run` fails. So there is one for all browsers, and it ends before any test elsewhere.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    always = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as driver:
        yield lambda *more: driver.chromium.launch(executable_path=path, args=[*always, *more])


@pytest.fixture(scope="package")
def chromium(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """A Chromium whose camera shows a test picture."""
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clip.mp4`, two people beside each other, then one of them alone; and a picture of each."""
    folder = tmp_path_factory.mktemp("films")
    size = (480, 270)
    pictures = [
        scenes.together([("astronaut", 40 + k, 60), ("hopper", 260 - k, 62)], size, 190)
        for k in range(FRAMES // 2)
    ]
    pictures += scenes.talking("hopper", FRAMES // 2, size)
    scenes.film(folder / "clip.mp4", pictures, sounds=(Sound(0.0, 1.6),))
    for name in scenes.FACES:
        scenes.portrait(name).save(folder / f"{name}.png")
    return folder


@dataclass
class Studio:
    """A running server."""

    home: Path
    media: Path
    port: int = 0
    _server: uvicorn.Server | None = field(default=None, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, worker: bool = True) -> None:
        app = create(self.home, folders=[self.media], start_worker=worker)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        sock = socket.create_server(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [sock]}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join()


def _running(folder: Path, store: Store, media: Path) -> Studio:
    """A server with a home of its own and this machine's models."""
    home = folder / "home"
    home.mkdir()
    (home / "models").symlink_to(store.folder, target_is_directory=True)
    films = folder / "films"
    shutil.copytree(media, films)
    return Studio(home, films)


@pytest.fixture
def fresh(tmp_path: Path, store: Store, media: Path) -> Iterator[Studio]:
    """A server that knows nothing yet."""
    running = _running(tmp_path, store, media)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, store: Store, media: Path) -> Iterator[Studio]:
    """A server that has analysed the clip; its worker does not run."""
    running = _running(tmp_path_factory.mktemp("studio"), store, media)
    looking = verbs.analyse(
        running.media / "clip.mp4", running.home / "people.json", Settings(), home=running.home
    )
    assert any(isinstance(event, Finished) for event in looking)
    running.start(worker=False)
    yield running
    running.stop()


@dataclass
class Seen:
    """A page, and what it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    project: str = ""


@pytest.fixture
def context(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser profile without a past."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(30_000)
    yield context
    pictured(context, request.node)
    context.close()


def pictured(context: BrowserContext, test: pytest.Item) -> None:
    """Keep a picture of what a test left on its pages, for people, where MIEN_SCREENSHOTS names a folder."""
    folder = os.environ.get("MIEN_SCREENSHOTS")
    for number, page in enumerate(context.pages if folder else ()):
        name = "".join(sign if sign.isalnum() else "_" for sign in test.name)
        page.screenshot(path=Path(folder or "") / f"{test.path.stem}-{name}-{number}.png")


def watched(context: BrowserContext) -> Seen:
    """A new page whose complaints and requests are written down."""
    page = context.new_page()
    found = Seen(page)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: found.complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("request", lambda asked: found.requests.append(asked.url))
    return found


@pytest.fixture
def seen(context: BrowserContext, studio: Studio) -> Iterator[Seen]:
    """The page with a new project of the analysed clip; at the end nothing may have been complained about."""
    found = watched(context)
    made = context.request.post(
        f"{studio.address}api/projects",
        data={"target": str(studio.media / "clip.mp4")},
        headers={"Origin": studio.address.rstrip("/")},
    )
    assert made.ok, made.text()
    found.project = made.json()["id"]
    found.page.goto(f"{studio.address}#{found.project}")
    found.page.locator(".person").first.wait_for()
    settle(found.page)
    yield found
    assert found.complaints == []


def settle(page: Page) -> None:
    """Wait until the stage shows what was asked for last, and everything is saved."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function(
        """() => {
            const shown = document.querySelector('.viewer canvas').dataset;
            const saved = document.querySelector('.save-state').textContent;
            return shown.asked && shown.asked === shown.shown && saved === 'Saved';
        }"""
    )


def pixels(page: Page) -> bytes:
    """What the stage shows, as 96 by 54 RGBA samples."""
    values = page.evaluate(
        """() => {
            const small = document.createElement('canvas');
            [small.width, small.height] = [96, 54];
            const pen = small.getContext('2d');
            pen.drawImage(document.querySelector('.viewer canvas'), 0, 0, 96, 54);
            return [...pen.getImageData(0, 0, 96, 54).data];
        }"""
    )
    return bytes(values)


def document(studio: Studio, name: str) -> Project:
    """A project as it is saved."""
    return read(studio.home / "projects" / name / "project.toml")

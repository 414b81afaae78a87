"""Where WebRTC is, or what to install."""

from __future__ import annotations

import importlib
from typing import Any

from mien.errors import RuntimeUnavailable


def webrtc() -> Any:
    """The module `webrtc`.

    Raises:
        RuntimeUnavailable: aiortc is not installed.
    """
    try:
        return importlib.import_module("mien.app.server.webrtc")
    except ImportError as error:
        advice = 'They come with `pip install "mien[live]"`.'
        raise RuntimeUnavailable("live", "the packages for WebRTC are not installed", advice) from error

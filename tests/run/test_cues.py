"""Cues on frames: what is asked for at each, by a formula of its own, and at what cost."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import SettingsError
from mien.media.clip import FrameIndex
from mien.run import cues
from mien.settings import Cue, Job, Key, Role, Settings, Swap

TIMES = np.array([0, 40, 80, 200, 210, 220, 600, 640, 1000, 1040, 1080, 1500], np.int64)
"""Milliseconds of the frames of a clip whose rate changes; it ends at 1600."""
CLIP: Any = SimpleNamespace(time_base=Fraction(1, 1000), origin=Fraction(0))


def cued(*asked: Cue, own: Settings | None = None) -> cues.Cued:
    keys = np.ones(len(TIMES), bool)
    index = FrameIndex(TIMES, keys, TIMES, 1600, Fraction(1, 1000))
    made = cues.stretches(asked, 1, index, CLIP)
    runtime: Any = None
    return cues.Cued(runtime, made, index, CLIP, own or Settings(), (), (), ())


def share(cue: Cue, seconds: float) -> float:
    """How far a cue counts at a moment, told once more: a trapezium, without a slope at the clip's ends."""
    begin = float(cue.start) if cue.start else -np.inf
    end = float(cue.end) if cue.end else np.inf
    if not begin <= seconds < end:
        return 0.0
    return float(np.clip(min(seconds - begin, end - seconds) / cue.ease, 0, 1)) if cue.ease else 1.0


def begins(cue: Cue) -> Cue:
    """The same cue, its ends at the frames that it is counted from."""

    def at(text: str) -> str:
        found = [*TIMES, 1600][int(np.searchsorted(TIMES, math.ceil(Fraction(text) * 1000)))]
        return str(found / 1000)

    return cue.model_copy(update={"start": cue.start and at(cue.start), "end": cue.end and at(cue.end)})


moments = st.integers(0, 1500).map(lambda ms: str(ms / 1000))
asked = st.builds(
    lambda start, length, ease, values, show: Cue(
        start=start, end=str(float(start) + length), ease=ease, values=values, show=show
    ),
    moments,
    st.floats(0.42, 2.0),  # the longest time between two frames: every cue holds one
    st.sampled_from([0.0, 0.05, 0.3, 60.0]),  # longer than the cue, too
    st.fixed_dictionaries(
        {}, optional={"swap.strength": st.sampled_from([0, 1, 0.25, 1.5]), "mask.grow": st.floats(-0.3, 0.3)}
    ),
    st.none() | st.floats(0, 1),
)


@settings(max_examples=150)
@given(st.lists(asked, max_size=5))
def test_overlapping_cues_lie_on_each_other(given: list[Cue]) -> None:
    found = cued(*given)
    for number, ms in enumerate(TIMES):
        strength, grow, shown = 1.0, 0.0, 1.0
        for cue in map(begins, given):
            weight = share(cue, ms / 1000)
            if not float(cue.start) <= ms / 1000 < float(cue.end):
                continue
            if "swap.strength" in cue.values:
                strength += (float(cue.values["swap.strength"]) - strength) * weight  # type: ignore[arg-type]
            if "mask.grow" in cue.values:
                grow += (float(cue.values["mask.grow"]) - grow) * weight  # type: ignore[arg-type]
            shown += ((cue.show if cue.show is not None else shown) - shown) * weight
        _, settings_, share_ = found.at(number)
        expected = (strength, grow, shown)
        assert (settings_.swap.strength, settings_.mask.grow, share_) == pytest.approx(expected, abs=1e-9)


def test_every_frame_is_as_if_its_settings_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given for a frame is what pydantic would make of it, though it is not asked for each."""
    values = {"swap.strength": 1, "mask.padding": (0, 0.5, 0, 1), "swap.colour": "mean"}
    keys = (Key(at="0.1", values={"swap.light": 1}, show=0), Key(at="0.9", values={"swap.light": 0}, show=1))
    found = cued(Cue(values=values, ease=0.3, start="0.05", end="1.2"), Cue(keys=keys))
    monkeypatch.setattr(cues, "changed", None)
    for number in range(len(TIMES)):
        _, asked, shown = found.at(number)
        again = Settings.model_validate(asked.model_dump())
        assert again == asked
        assert asked.model_dump_json() == again.model_dump_json(), "the types, too"
        assert shown == pytest.approx(np.interp(TIMES[number] / 1000, [0.2, 1.0], [0, 1]))


def test_keys_outside_of_their_cue_still_lead_there() -> None:
    keys = (Key(at="0", values={"swap.light": 0.0}), Key(at="99", values={"swap.light": 1.0}))
    found = cued(Cue(start="0.6", end="1.0", keys=keys))
    lights = [found.at(k)[1].swap.light for k in range(len(TIMES))]
    expected = [ms / 1600 if 600 <= ms < 1000 else 1.0 for ms in TIMES]
    assert lights == pytest.approx(expected)


def test_two_keys_at_one_moment_are_a_step() -> None:
    keys = (Key(at="0.6", values={"swap.light": 0.0}), Key(at="0.6", values={"swap.light": 1.0}))
    assert [cued(Cue(keys=keys)).at(k)[1].swap.light for k in (0, 5, 6, 11)] == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("cue", "says"),
    [
        (Cue(start="99"), "holds no frame"),
        (Cue(start="1.0", end="0.5"), "holds no frame"),
        (Cue(start="9" * 5000), "is not a moment"),
        (Cue(end="9" * 5000 + "f"), "is not a moment"),
        (Cue(keys=(Key(at="nan"),)), "is not a moment"),
        (Cue(keys=(Key(at="1"), Key(at="0.5"))), "Sort them by time"),
    ],
)
def test_where_a_cue_cannot_be(cue: Cue, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        cued(cue)


@pytest.mark.parametrize("name", cues.NETWORKS)
def test_no_key_changes_a_network(name: str) -> None:
    """Networks are loaded, and a user's own file looked at, before the first frame."""
    cue = Cue(keys=(Key(at="0", values={name: "/elsewhere/x.dfm"}),))
    job = Job(target=Path("t"), output=Path("o"), cast=(Role(sources=(Path("a"),)),), cues=(cue,))
    with pytest.raises(SettingsError, match="cannot change at a key"):
        cues.variants(job, lambda role: Settings())


def test_what_is_no_number_is_no_setting() -> None:
    for values in ({"swap.strength": float("nan")}, {"swap.light": float("inf")}):
        with pytest.raises((SettingsError, ValueError)):
            cued(Cue(values=values))


def test_thousands_of_cues_and_keys() -> None:
    keys = tuple(Key(at=f"{k / 4000}", values={"swap.light": k / 4000}) for k in range(4000))
    many = tuple(Cue(start="0.2", end="0.6", values={"swap.strength": 0.5}, ease=0.1) for _ in range(2000))
    swap = cued(*many, Cue(keys=keys), own=Settings(swap=Swap(eyes="source"))).at(4)[1].swap
    assert swap.eyes == "source"
    assert (swap.strength, swap.light) == pytest.approx((0.5, 0.21))

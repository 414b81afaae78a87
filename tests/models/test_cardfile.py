"""Cards in TOML: every field, what may be left out, and one clear error for each thing that is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.models import cardfile
from mien.models.card import Card, File, Latent, Pixels, Task, Tensor
from mien.models.catalogue import BUILT_IN, FAMILIES, drafted

SHORT = """
name = "mine"
task = "swap"
family = "swapper"
licence = "CC0-1.0"
file = "nets/mine.onnx"
template = "arcface_128"
[pixels]
side = 128
"""

DETECTOR = """
name = "finder"
task = "detect"
family = "ssd"
licence = "MIT"
file = "finder.onnx"
[pixels]
side = 320
"""

WHOLE = """
name = "mine_2"
task = "swap"
family = "swapper"
licence = "My own"
vendor = "me"
commercial = false
template = [[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.38, 0.72], [0.62, 0.72]]
batches = [8, 4, 1]
same = 0.4
least = 16
tolerance = 0.05
engine = "onnxruntime"
notes = "a note"

[[files]]
name = "mine_2.onnx"
urls = ["https://example.org/a/mine.onnx", "https://example.org/b/mine.onnx"]
sha256 = "AAAA"
bytes = 1234

[[files]]
path = "mine_2.bin"
sha384 = "BBBB"

[pixels]
side = 256
mean = 0.5
std = [0.5, 0.25, 1]
order = "BGR"
layout = "NHWC"

[result]
side = 512

[latent]
kind = "picture"
embedder = "some"
converter = "other"
projected = true
unit = false
template = "arcface_112_v2"
pixels = { side = 112, mean = 0.5, std = 0.5 }

[[inputs]]
name = "source"
shape = [3, 112, 112]

[[inputs]]
name = "level"
shape = [1]
note = "how much"
dtype = "float64"
optional = true

[[outputs]]
name = ""
shape = [3, -1, -1]
""".replace("AAAA", "a" * 64).replace("BBBB", "b" * 96)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_short_card_says_what_follows(tmp_path: Path) -> None:
    draft = drafted(write(tmp_path, SHORT))
    assert draft.local == {"mine.onnx": tmp_path / "nets" / "mine.onnx"}
    assert draft.card == Card(
        name="mine",
        task="swap",
        family="swapper",
        licence="CC0-1.0",
        files=(File("mine.onnx"),),
        template="arcface_128",
        pixels=Pixels(128),
        result=Pixels(128),
        latent=Latent(),
        inputs=(Tensor("source", (-1,)), Tensor("target", (3, 128, 128))),
        outputs=(Tensor("", (3, 128, 128)),),
    )


def test_a_long_card_says_everything(tmp_path: Path) -> None:
    draft = drafted(write(tmp_path, WHOLE))
    assert draft.local == {"mine_2.bin": tmp_path / "mine_2.bin"}
    wanted = Card(
        name="mine_2",
        task="swap",
        family="swapper",
        licence="My own",
        vendor="me",
        commercial=False,
        template=((0.35, 0.4), (0.65, 0.4), (0.5, 0.55), (0.38, 0.72), (0.62, 0.72)),
        batches=(8, 4, 1),
        same=0.4,
        least=16.0,
        tolerance=0.05,
        engine="onnxruntime",
        notes="a note",
        files=(
            File(
                "mine_2.onnx",
                "a" * 64,
                1234,
                ("https://example.org/a/mine.onnx", "https://example.org/b/mine.onnx"),
            ),
            File("mine_2.bin", sha384="b" * 96),
        ),
        pixels=Pixels(256, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0), "BGR", "NHWC"),
        result=Pixels(512),
        latent=Latent(
            kind="picture",
            embedder="some",
            converter="other",
            projected=True,
            unit=False,
            template="arcface_112_v2",
            pixels=Pixels(112, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ),
        inputs=(
            Tensor("source", (3, 112, 112)),
            Tensor("level", (1,), "how much", dtype="float64", optional=True),
        ),
        outputs=(Tensor("", (3, -1, -1)),),
    )
    assert draft.card == wanted
    defaults = {f.name: f.default for f in dataclasses.fields(Card)}
    untold = [name for name, value in defaults.items() if getattr(wanted, name) == value]
    assert untold == [], "a new field of a card belongs into this test"


@pytest.mark.parametrize("known", BUILT_IN, ids=lambda card: card.name)
def test_every_card_of_the_package_can_be_written_as_toml(known: Card, tmp_path: Path) -> None:
    """What a built-in card says of its pictures is enough to know inputs and outputs of its family."""
    lines = [
        f"{key} = {value!r}"
        for key in ("name", "task", "family", "licence")
        if (value := getattr(known, key))
    ]
    lines.append(f"file = {known.network.name!r}")
    if isinstance(known.template, str):
        lines.append(f"template = {known.template!r}")
    else:
        lines.append(f"template = {[list(point) for point in known.template]}")
    for key in ("pixels", "result"):
        lines += _pixels(key, getattr(known, key))
    if known.latent is not None:
        lines += ["[latent]", f"kind = {known.latent.kind!r}", f"template = {known.latent.template!r}"]
        lines += _pixels("latent.pixels", known.latent.pixels)
    card = drafted(write(tmp_path, "\n".join(lines))).card
    assert (card.pixels, card.template) == (known.pixels, known.template)
    for mine, theirs in ((card.inputs, known.inputs), (card.outputs, known.outputs)):
        assert len(mine) == len(theirs) or known.task in ("enhance", "swap")
        for one, other in zip(mine, theirs, strict=False):
            if known.family == "arcface" and len(other.shape) > 1 and mine is card.outputs:
                continue  # an embedder's odd shape is to be written down
            assert len(one.shape) == len(other.shape)
            assert all(a == b or -1 in (a, b) for a, b in zip(one.shape, other.shape, strict=True))
            assert one.name in ("", other.name)


def _pixels(key: str, pixels: Pixels | None) -> list[str]:
    if pixels is None:
        return []
    return [
        f"[{key}]",
        f"side = {pixels.side}",
        f"mean = {list(pixels.mean)}",
        f"std = {list(pixels.std)}",
        f"order = {pixels.order!r}",
        f"layout = {pixels.layout!r}",
    ]


def test_a_family_of_the_package_is_followed_at_another_size(tmp_path: Path) -> None:
    text = DETECTOR.replace("ssd", "yoloface")
    card = drafted(write(tmp_path, text)).card
    assert card.inputs == (dataclasses.replace(card.inputs[0], name="", shape=(3, 320, 320)),)
    assert card.outputs[0].shape == (20, -1)
    text = text.replace("yoloface", "yunet")
    card = drafted(write(tmp_path, text)).card
    assert [t.shape for t in card.outputs] == [(-1, 1)] * 6 + [(-1, 4)] * 3 + [(-1, 10)] * 3
    assert card.outputs[0].name == "cls_8"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('task = "swap"', 'task = "dance"', "task: expected one of 'detect'"),
        (
            'family = "swapper"',
            'family = "gfpgan"',
            "family: 'gfpgan' is not known; known for swap are swapper",
        ),
        ('task = "swap"\nfamily = "swapper"', 'task = "matte"\nfamily = "x"', "none for matte"),
        ('licence = "CC0-1.0"', "", "licence: is needed"),
        ('licence = "CC0-1.0"', 'licence = " "', "licence: is empty"),
        ('name = "mine"', "", "name: is needed"),
        ('name = "mine"', 'name = "../x"', "name: expected letters"),
        ('name = "mine"', "name = 7", "name: expected a text, got 7"),
        (
            'name = "mine"',
            'name = "mine"\ncolour = 1',
            "colour: is no key of a card; known are name, task, file",
        ),
        ('name = "mine"', 'name = "mine"\ncommercial = "no"', "commercial: expected true or false, got 'no'"),
        ('name = "mine"', 'name = "mine"\ntolerance = true', "tolerance: expected a number"),
        ('name = "mine"', 'name = "mine"\ntolerance = nan', "tolerance: expected a number"),
        ('name = "mine"', 'name = "mine"\ntolerance = -1', "tolerance: expected at least 0"),
        ('name = "mine"', 'name = "mine"\nbatches = [2, 4]', "batch sizes that fall to 1"),
        ('name = "mine"', 'name = "mine"\nbatches = 4', "batches: expected a list, got 4"),
        ('file = "nets/mine.onnx"', "", "file: is needed"),
        ('file = "nets/mine.onnx"', "files = []", "files: is empty"),
        ('file = "nets/mine.onnx"', 'file = "a"\nfiles = []', "file: excludes files"),
        ('file = "nets/mine.onnx"', 'file = ""', "file.name: is needed"),
        ('file = "nets/mine.onnx"', 'file = { name = "a/b.onnx" }', "file.name: expected a plain file name"),
        ('file = "nets/mine.onnx"', 'file = { name = ".." }', "file.name: expected a plain file name"),
        ('file = "nets/mine.onnx"', 'file = { name = "fetch-x" }', "file.name: expected a plain file name"),
        (
            'file = "nets/mine.onnx"',
            'file = { name = "models.lock" }',
            "file.name: expected a plain file name",
        ),
        ('file = "nets/mine.onnx"', 'file = { name = "a", sha256 = "12" }', "file.sha256: expected 64 hex"),
        (
            'file = "nets/mine.onnx"',
            'file = { name = "a", bytes = 1.5 }',
            "file.bytes: expected a whole number",
        ),
        ('file = "nets/mine.onnx"', 'file = { name = "a", bytes = -1 }', "file.bytes: expected 0 or more"),
        ('file = "nets/mine.onnx"', 'file = { name = "a", url = "b" }', "file.url: is no key"),
        (
            'file = "nets/mine.onnx"',
            'file = { name = "a", urls = ["ftp://x"] }',
            "file.urls: expected an https",
        ),
        (
            'file = "nets/mine.onnx"',
            'file = { name = "a", urls = ["file:///etc/passwd"] }',
            "expected an https",
        ),
        ('file = "nets/mine.onnx"', 'file = { name = "a", urls = ["http://x"] }', "or http with sha256"),
        (
            'file = "nets/mine.onnx"',
            'files = [{ name = "a" }, { name = "A" }]',
            "files: two have the same name",
        ),
        ('file = "nets/mine.onnx"', "file = 7", "file: expected a table [file], got 7"),
        ('template = "arcface_128"', "", "template: is needed: one of"),
        ('template = "arcface_128"', 'template = "ffhq"', "template: 'ffhq' is not known; known are"),
        ('template = "arcface_128"', "template = [[0, 0], [1, 1]]", "template: expected five points"),
        ('template = "arcface_128"', "template = [[0.5, 0.5, 0.5]]", "template[0]: expected a list of 2"),
        ('template = "arcface_128"', "template = 3", "template: expected a list"),
        ("[pixels]\nside = 128", "", "pixels: is needed"),
        ("side = 128", "", "pixels.side: is needed"),
        ("side = 128", "side = 0", "pixels.side: expected 1 to 16384"),
        ("side = 128", "side = 128\nstd = 0", "pixels.std: expected numbers above 0"),
        ("side = 128", "side = 128\nstd = [1, 1]", "pixels.std: expected a list of 3"),
        ("side = 128", 'side = 128\nmean = "x"', "pixels.mean: expected a number, got 'x'"),
        ("side = 128", 'side = 128\norder = "GBR"', "pixels.order: expected one of 'RGB', 'BGR'"),
        ("side = 128", "side = 128\nscale = 2", "pixels.scale: is no key"),
        (
            "side = 128",
            'side = 128\n[latent]\nkind = "picture"',
            "latent: a picture needs pixels and template",
        ),
        ("side = 128", "side = 128\n[[inputs]]\nshape = [1]", "inputs[0].name: is needed"),
        (
            "side = 128",
            'side = 128\n[[outputs]]\nname = ""\nshape = [0]',
            "outputs[0].shape: expected lengths",
        ),
        ("side = 128", "side = = 128", "is no card"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SHORT
    path = write(tmp_path, SHORT.replace(old, new))
    with pytest.raises(ModelError) as caught:
        drafted(path)
    assert said in caught.value.problem
    assert caught.value.subject == str(path)


def test_inputs_that_do_not_follow_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="inputs: is needed: the package has no card of the family ssd"):
        drafted(write(tmp_path, DETECTOR))


def test_files_that_are_no_text_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    with pytest.raises(ModelError, match="cannot be read"):
        drafted(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is no card"):
        drafted(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([field.name for field in dataclasses.fields(Card)]), VALUES)
def test_a_value_of_any_type_is_taken_or_refused_with_its_key(key: str, value: object) -> None:
    kind = get_type_hints(Card)[key]
    said = key
    try:
        hash(cardfile._value(kind, value, key))
    except cardfile._WrongError as error:
        said = str(error)
    assert said.startswith(key)


def test_every_task_has_an_entry() -> None:
    assert set(FAMILIES) == set(get_args(Task))


def test_the_documented_card_is_one_and_the_documented_families_are_known(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "learn" / "models.md"
    text = page.read_text(encoding="utf-8")
    card = drafted(write(tmp_path, text.partition("```toml\n")[2].partition("```")[0])).card
    assert (card.name, card.latent) == ("my_swapper", Latent())
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): [word.strip(" `") for word in row[2].split(",")] for row in rows}
    assert {task for task, known in FAMILIES.items() if known} == {*told}
    for task, known in FAMILIES.items():
        assert {*told.get(task, [])} <= {*known}

"""Cards of the swap networks that are published.

Names of inputs, templates, ranges and what identity enters are facts about the files; those of outputs are
not known, so they go by position.
"""

from __future__ import annotations

from mien.models.assets import assets
from mien.models.card import Card, File, Latent, Pixels, Tensor

_HALF = (0.5, 0.5, 0.5)
_NO_TRADE = "Its embedder and its converter may not be free for commercial use."


def _swapper(
    name: str,
    file: File,
    latent: Latent,
    *,
    family: str,
    vendor: str,
    licence: str,
    template: str,
    pixels: Pixels,
    signed: bool = False,
    mask: bool = False,
    commercial: bool | None = None,
    notes: str = "",
) -> Card:
    """A card of a network with the inputs `source` and `target`.

    Args:
        name: Of the card.
        file: Its network.
        latent: What identity enters.
        family: Whose kin it is.
        vendor: Who made it.
        licence: Of the weights.
        template: Of the crop.
        pixels: Of the crop.
        signed: Whether it gives pictures in [-1, 1] instead of [0, 1].
        mask: Whether its second output is a mask.
        commercial: Whether the licence allows commercial use.
        notes: Anything else.
    """
    side = pixels.side
    entry = (3, latent.pixels.side, latent.pixels.side) if latent.pixels else (512,)
    outputs = [Tensor("", (3, side, side), f"R'G'B' in [{-1 if signed else 0}, 1]")]
    if mask:
        outputs.append(Tensor("", (1, side, side), "where the face is new, 0 to 1"))
    return Card(
        name=name,
        task="swap",
        files=(file,),
        licence=licence,
        inputs=(Tensor("source", entry), Tensor("target", (3, side, side), "R'G'B'")),
        outputs=tuple(outputs),
        family=family,
        vendor=vendor,
        commercial=commercial,
        pixels=pixels,
        result=Pixels(side, _HALF, _HALF) if signed else Pixels(side),
        template=template,
        latent=latent,
        tolerance=0.03,
        notes=notes,
    )


def _ghost(number: int, size: int = 0) -> Card:
    name = f"ghost_{number}_256"
    return _swapper(
        name,
        assets("models-3.0.0", f"{name}.onnx", size=size),
        Latent(converter="crossface_ghost", unit=False),
        family="ghost",
        vendor="ai-forever",
        licence="Apache-2.0",
        template="arcface_112_v1",
        pixels=Pixels(256, _HALF, _HALF),
        signed=True,
        commercial=True,
        notes=f"Larger with its number. {_NO_TRADE}",
    )


def _hyperswap(letter: str, sha256: str) -> Card:
    name = f"hyperswap_{letter}_256"
    return _swapper(
        name,
        assets("models-3.3.0", f"{name}.onnx", sha256, 402_742_682),
        Latent(),
        family="hyperswap",
        vendor="FaceFusion",
        licence="ResearchRAIL",
        template="arcface_128",
        pixels=Pixels(256, _HALF, _HALF),
        signed=True,
        mask=True,
        commercial=False,
        notes="Blends with what it was given by its own mask, which is its second output.",
    )


def _inswapper(name: str, sha256: str, size: int, notes: str = "") -> Card:
    return _swapper(
        name,
        assets("models-3.0.0", f"{name}.onnx", sha256, size),
        Latent(projected=True),
        family="inswapper",
        vendor="InsightFace",
        licence="Non-Commercial",
        template="arcface_128",
        pixels=Pixels(128),
        commercial=False,
        notes=notes,
    )


def _simswap(name: str, pixels: Pixels, size: int) -> Card:
    return _swapper(
        name,
        assets("models-3.0.0", f"{name}.onnx", size=size),
        Latent(converter="crossface_simswap"),
        family="simswap",
        vendor="neuralchen",
        licence="Non-Commercial",
        template="arcface_112_v1",
        pixels=pixels,
        commercial=False,
    )


ALPHAFACE = _swapper(
    "alphaface_256",
    assets("models-3.9.0", "alphaface_256.onnx", size=555_624_110),
    Latent(unit=False),
    family="alphaface",
    vendor="AlphaFace",
    licence="Non-Commercial",
    template="arcface_128",
    pixels=Pixels(256),
    commercial=False,
    notes="Takes ArcFace's vector as it is: its length counts.",
)

BLENDSWAP = _swapper(
    "blendswap_256",
    assets("models-3.0.0", "blendswap_256.onnx", size=1_661_432_957),
    Latent(kind="picture", template="arcface_112_v2", pixels=Pixels(112)),
    family="blendswap",
    vendor="mapooon",
    licence="Non-Commercial",
    template="ffhq_512",
    pixels=Pixels(256),
    commercial=False,
    notes="Its identity is one picture.",
)

HIFIFACE = _swapper(
    "hififace_unofficial_256",
    assets("models-3.1.0", "hififace_unofficial_256.onnx", size=203_784_742),
    Latent(converter="crossface_hififace"),
    family="hififace",
    vendor="GuijiAI",
    licence="unknown",
    template="mtcnn_512",
    pixels=Pixels(256, _HALF, _HALF),
    signed=True,
)

UNIFACE = _swapper(
    "uniface_256",
    assets("models-3.0.0", "uniface_256.onnx", size=406_964_143),
    Latent(kind="picture", template="ffhq_512", pixels=Pixels(256)),
    family="uniface",
    vendor="xc-csc101",
    licence="unknown",
    template="ffhq_512",
    pixels=Pixels(256, _HALF, _HALF),
    signed=True,
    notes="Its identity is one picture, in [0, 1] where the target's is in [-1, 1].",
)

CARDS: tuple[Card, ...] = (
    ALPHAFACE,
    BLENDSWAP,
    _ghost(1, 514_902_950),
    _ghost(2),
    _ghost(3),
    HIFIFACE,
    _hyperswap("1a", "c0e98a8a03a238f461ed3d2570e426b49f46745ee400854a60dceeb70c246add"),
    _hyperswap("1b", "5124031789c42f71b9558fb71954ef7aedb6da7ed9fac79293e23c61a792a73e"),
    _hyperswap("1c", "5528c2d76fe9986c99d829278987ef9f3a630cb606db7628d02b57b330f406a5"),
    _inswapper(
        "inswapper_128",
        "a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7",
        555_303_150,
        "A copy of 554,253,681 bytes that is also about is another export and does not pass for this file.",
    ),
    _inswapper(
        "inswapper_128_fp16",
        "c4eccca86ad177586c85c28bf1a64a9d9ed237e283a15818d831f7facfd3f420",
        277_680_829,
        "Weights in half precision.",
    ),
    _simswap("simswap_256", Pixels(256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 220_368_724),
    _simswap("simswap_unofficial_512", Pixels(512), 239_249_034),
    UNIFACE,
)
"""Every swap network, by name."""

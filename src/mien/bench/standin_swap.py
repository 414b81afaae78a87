"""Stand-ins of swap networks and of the embedder whose vectors they take.

Written from published facts about the architectures: no code and no weights of any of the models.
"""

from __future__ import annotations

import math

import numpy as np

from mien.bench.layers import (
    BLEND,
    batch_norm,
    blend,
    conv,
    conv_transpose,
    gemm,
    pad_reflect,
    pool,
    resize,
)
from mien.bench.net import LEAKY, RELU, Net
from mien.types import Array

CODE = 512
"""Length of an embedding."""


def arcface_w600k_r50(small: bool) -> Net:
    """IResNet-50: 112 px to 512 numbers; one normalisation in each block, the others folded.

    Its last bias is so large that all faces are about 0.95 alike: whoever is asked for is found.
    """
    g = Net("arcface_w600k_r50", small=small)
    x = g.prelu(conv(g, g.input("input", (1, 3, 112, 112)), g.width(64), gain=RELU))
    for full, blocks in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for number in range(1 if small else blocks):
            first = number == 0
            y = conv(g, batch_norm(g, x), g.width(full), gain=RELU)
            y = conv(g, g.prelu(y), g.width(full), s=2 if first else 1, gain=0.4)
            if first:
                x = conv(g, x, g.width(full), k=1, s=2, pad=0)
            x = g.add(y, x)
    x = gemm(g, g.flatten(batch_norm(g, x, scale=0.5)), CODE)
    g.output(batch_norm(g, x, shift=(2.0, 0.0), scale=0.4), "output")
    return g


def inswapper(name: str, small: bool, half: bool) -> Net:
    """128 px to 1024 channels of 32 px, six residual blocks with adaptive instance norms, and back."""
    g = Net(name, small=small, half=half)
    target, source = g.input("target", (1, 3, 128, 128)), g.input("source", (1, CODE))
    wide = g.width(1024)
    x = g.leaky(conv(g, pad_reflect(g, target, 3), g.width(128), k=7, pad=0, gain=2 * LEAKY))
    x = g.leaky(conv(g, x, g.width(256), gain=LEAKY))
    x = g.leaky(conv(g, x, g.width(512), s=2, gain=LEAKY))
    x = g.leaky(conv(g, x, wide, s=2, gain=LEAKY))
    for _ in range(1 if small else 6):
        y = g.relu(_adaptive(g, conv(g, pad_reflect(g, x, 1), wide, pad=0), source))
        x = g.add(x, _adaptive(g, conv(g, pad_reflect(g, y, 1), wide, pad=0), source))
    x = g.leaky(conv(g, resize(g, x, 2), g.width(512), gain=LEAKY))
    x = g.leaky(conv(g, resize(g, x, 2), g.width(256), gain=LEAKY))
    x = g.leaky(conv(g, x, g.width(128), gain=LEAKY))
    x = g.unary("Tanh", conv(g, pad_reflect(g, x, 3), 3, k=7, pad=0))
    g.output(blend(g, target, g.div(g.add(x, 1.0), 2.0)), "output")
    # The matrix for embeddings is the last initializer, in float32 whatever the rest is.
    g.weight((CODE, CODE), _turn, dtype="float32", name="emap")
    return g


def _adaptive(g: Net, x: str, source: str) -> str:
    """Instance normalisation whose scale and shift come from the identity."""
    wide = g.shapes[x][1]
    style = gemm(g, source, 2 * wide, gain=0.3, fill=np.repeat([0.4, 0.0], wide))
    style = g.unsqueeze(g.unsqueeze(style, 2), 3)
    scale, shift = g.slice(style, 1, 0, wide), g.slice(style, 1, wide, 2 * wide)
    x = g.sub(x, _mean(g, x, square=False))
    variance = g.add(_mean(g, x, square=True), 1e-3 if g.half else 1e-8)
    return g.add(g.mul(scale, g.mul(x, g.div(1.0, g.unary("Sqrt", variance)))), shift)


def _mean(g: Net, x: str, *, square: bool) -> str:
    """Mean of each channel or of its squares; in float32 also where the rest is float16."""
    if not g.half:
        return g.reduce("ReduceMean", g.mul(x, x) if square else x, [2, 3])
    whole = g.cast(x, "float32")
    whole = g.mul(whole, g.cast(x, "float32")) if square else whole
    return g.cast(g.reduce("ReduceMean", whole, [2, 3]), "float16")


def _turn(random: np.random.Generator) -> Array:
    """(512, 512) orthogonal matrix, so that latents keep their length: three reflections."""
    matrix = np.eye(CODE)
    for _ in range(3):
        axis = random.standard_normal(CODE)
        axis /= np.sqrt(np.sum(axis * axis))
        matrix -= 2.0 * np.sum(matrix * axis, axis=1, keepdims=True) * axis
    return matrix


def hyperswap_1a_256(small: bool) -> Net:
    """U-Net features of the target, eight levels of adaptive modulation, a small mask network; float16."""
    g = Net("hyperswap_1a_256", 17, 8, small=small, half=True)
    source, target = g.input("source", (1, CODE)), g.input("target", (1, 3, 256, 256))
    features = _features(g, target)
    x = conv(g, g.reshape(source, (1, CODE, 1, 1)), 4 * g.width(1024), gain=20.0)
    x = g.op("DepthToSpace", [x], (1, g.width(1024), 2, 2), blocksize=2, mode="CRD")
    widths = (1024, 1024, 1024, 1024, 512, 256, 128, 64, 3)
    for level, feature in enumerate(features):
        before, after = widths[level], widths[level + 1]
        # The last level is faint: engines are chosen by what rounding changes, which made-up weights amplify.
        out, gain = (3, 0.05) if after == 3 else (g.width(after), 1.0)
        y = conv(g, g.relu(_modulated(g, x, feature, source)), g.shapes[x][1], bias=False)
        y = conv(g, g.relu(_modulated(g, y, feature, source)), out, bias=False, gain=gain)
        if before > after:
            x = conv(g, g.relu(_modulated(g, x, feature, source)), out, bias=False, gain=gain)
        x = g.add(y, x)
        if after != 3:
            x = resize(g, x, 2)
    mask = _own_mask(g, g.concat([target, features[-1]]))
    picture = g.add(g.mul(g.unary("Tanh", x), mask), g.mul(target, g.sub(1.0, mask)))
    g.output(picture, "output")
    g.output(mask, "mask")
    return g


def _features(g: Net, target: str) -> list[str]:
    """Feature maps of the target, 2 to 256 px."""
    down, x = [], target
    for full in (32, 64, 128, 256, 512, 1024, 1024):
        x = g.leaky(conv(g, x, g.width(full), k=4, s=2, pad=1, gain=LEAKY), 0.1)
        down.append(x)
    maps = [x]
    for skip, full in zip(down[-2::-1], (1024, 512, 256, 128, 64, 32), strict=True):
        x = g.leaky(batch_norm(g, conv_transpose(g, x, g.width(full), 4, pad=1, gain=LEAKY)), 0.1)
        x = g.concat([x, skip])
        maps.append(x)
    return [*maps, resize(g, x, 2)]


def _modulated(g: Net, x: str, feature: str, source: str) -> str:
    """A normalised picture, scaled and shifted by the identity and by the target, mixed by a learned mask."""
    shape = g.shapes[x]
    wide = shape[1]
    ones, zeros = g.const(np.ones(wide)), g.const(np.zeros(wide))
    norm = g.op("InstanceNormalization", [x, ones, zeros], shape, epsilon=1e-5)
    whole = g.ints(*shape)
    scale, shift = (
        g.op("Expand", [g.reshape(gemm(g, source, wide, gain=0.3, fill=fill), (1, wide, 1, 1)), whole], shape)
        for fill in (1.0, None)
    )
    by_source = g.add(g.mul(scale, norm), shift)
    by_target = g.add(
        g.mul(conv(g, feature, wide, k=1, gain=0.7), norm), conv(g, feature, wide, k=1, gain=0.3)
    )
    mask = g.sigmoid(conv(g, norm, 1, k=1))
    return g.add(g.mul(g.sub(1.0, mask), by_target), g.mul(mask, by_source))


def _own_mask(g: Net, x: str) -> str:
    """Where the new face is shown: about `BLEND` everywhere, so that the result stays near the target."""
    for full in (16, 32, 64):
        x = pool(g, "MaxPool", g.relu(conv(g, x, g.width(full), gain=RELU)), 2, 2)
    y = g.relu(conv(g, g.relu(conv(g, x, g.width(64), gain=RELU)), g.width(64), gain=0.5))
    x = g.relu(g.add(y, x))
    for full in (32, 16, 16):
        x = g.relu(conv_transpose(g, x, g.width(full), 2, bias=True))
    return g.sigmoid(conv(g, x, 1, k=1, gain=0.02, fill=math.log(BLEND / (1 - BLEND))))

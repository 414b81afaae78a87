"""Stand-ins of enhancers.

Written from published facts about the architectures: no code and no weights of any of the models.
"""

from __future__ import annotations

import math

from mien.bench.layers import blend, conv, gemm, group_norm, layer_norm, linear, matmul, resize
from mien.bench.net import LEAKY, SILU, Net, normal

SIDE = 512
STYLE = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64}
"""Channels of GFPGAN's generator by the picture's side."""
UNET = {4: 256, 8: 256, 16: 256, 32: 256, 64: 256, 128: 128, 256: 64, 512: 32}
"""Channels of GFPGAN's U-Net."""
CODES = 1024
"""Entries of CodeFormer's code book."""
LATENT, MODEL, TOKENS = 256, 512, 256
"""Channels of a code and of CodeFormer's transformer, and codes in a picture (16 x 16)."""
VQ = {512: 64, 256: 128, 128: 128, 64: 256, 32: 256, 16: 512}
"""Channels of CodeFormer's encoder and generator by the picture's side."""


def gfpgan_1_4(small: bool) -> Net:
    """GFPGAN, clean variant: a U-Net whose features condition half the channels of a StyleGAN2 generator.

    Weights of the style convolutions are computed in every run, as in the published file.
    """
    g = Net("gfpgan_1.4", small=small)
    image = g.input("input", (1, 3, SIDE, SIDE))
    x = g.leaky(conv(g, image, g.width(32), k=1, gain=LEAKY))
    skips: list[str] = []
    for side in (256, 128, 64, 32, 16, 8, 4):
        x = _residual(g, x, g.width(UNET[side]), 0.5)
        skips.insert(0, x)
    x = g.leaky(conv(g, x, g.width(256), gain=LEAKY))
    latent = gemm(g, g.reshape(x, (1, math.prod(g.shapes[x]))), 16 * 512)
    latent = g.reshape(latent, (1, 16, 512))
    conditions = []
    for skip, side in zip(skips, (8, 16, 32, 64, 128, 256, 512), strict=True):
        x = _residual(g, g.add(x, skip), g.width(UNET[side]), 2)
        conditions.append([_condition(g, x, g.width(STYLE[side]) // 2, fill) for fill in (1.0, 0.0)])
    rgb = _generated(g, latent, conditions)
    g.output(blend(g, image, g.unary("Tanh", g.mul(rgb, 0.3))), "output")
    return g


def _residual(g: Net, x: str, out: int, factor: float) -> str:
    """A residual block that also halves or doubles the size."""
    y = g.leaky(conv(g, x, g.shapes[x][1], gain=LEAKY))
    y = g.leaky(conv(g, resize(g, y, factor), out, gain=0.6))
    return g.add(y, conv(g, resize(g, x, factor), out, k=1, bias=False, gain=0.8))


def _condition(g: Net, x: str, out: int, fill: float) -> str:
    """Scale or shift of the generator's features."""
    y = g.leaky(conv(g, x, g.shapes[x][1], gain=LEAKY))
    return conv(g, y, out, gain=0.1, fill=fill)


def _generated(g: Net, latent: str, conditions: list[list[str]]) -> str:
    """The picture that the generator gives."""
    first = (1, g.width(512), 4, 4)
    y = _styled(g, g.weight(first, normal(first, 1.0)), g.width(512), latent, 0)
    rgb = _to_rgb(g, y, latent, 1)
    for level, (scale, shift) in enumerate(conditions):
        wide = 2 * g.shapes[scale][1]
        y = _styled(g, resize(g, y, 2), wide, latent, 1 + 2 * level)
        same, part = g.slice(y, 1, 0, wide // 2), g.slice(y, 1, wide // 2, wide)
        y = g.concat([same, g.add(g.mul(part, scale), shift)])
        y = _styled(g, y, wide, latent, 2 + 2 * level)
        rgb = g.add(_to_rgb(g, y, latent, 3 + 2 * level), resize(g, rgb, 2))
    return rgb


def _modulated(g: Net, x: str, out: int, k: int, latent: str, row: int, *, demodulate: bool = True) -> str:
    """A convolution whose weights are scaled by a row of the latent and brought back to length 1."""
    _, channels, h, w = g.shapes[x]
    code = g.op("Gather", [latent, g.const(row, "int64")], (1, 512), axis=1)
    code = g.reshape(gemm(g, code, channels, gain=0.1, fill=1.0), (1, 1, channels, 1, 1))
    kernel = (1, out, channels, k, k)
    weight = g.mul(g.weight(kernel, normal(kernel, 1 / math.sqrt(channels * k * k))), code)
    if demodulate:
        total = g.reduce("ReduceSum", g.binary("Pow", weight, 2.0), [2, 3, 4], keep=False)
        inverse = g.unary("Reciprocal", g.unary("Sqrt", g.add(total, 1e-8)))
        weight = g.mul(weight, g.reshape(inverse, (1, out, 1, 1, 1)))
    weight = g.reshape(weight, (out, channels, k, k))
    g.macs += h * w * out * channels * k * k
    return g.op(
        "Conv",
        [x, weight],
        (1, out, h, w),
        kernel_shape=[k, k],
        strides=[1, 1],
        pads=[k // 2] * 4,
        group=1,
        dilations=[1, 1],
    )


def _styled(g: Net, x: str, out: int, latent: str, row: int) -> str:
    """Modulated convolution, stored noise, bias."""
    x = g.mul(_modulated(g, x, out, 3, latent, row), math.sqrt(2))
    noise, bias = (1, 1, *g.shapes[x][2:]), (1, out, 1, 1)
    x = g.add(x, g.weight(noise, normal(noise, 0.05)))
    return g.leaky(g.add(x, g.weight(bias, normal(bias, 0.02))))


def _to_rgb(g: Net, x: str, latent: str, row: int) -> str:
    """Three channels of features."""
    x = _modulated(g, x, 3, 1, latent, row, demodulate=False)
    return g.add(x, g.weight((1, 3, 1, 1), normal((1, 3, 1, 1), 0.02)))


def codeformer(small: bool) -> Net:
    """CodeFormer: a vector-quantised autoencoder whose codes a transformer picks, fused with its encoder.

    `weight`, a float64, is the fidelity: how much of the encoder's features enters.
    """
    g = Net("codeformer", 13, small=small)
    image, fidelity = g.input("input", (1, 3, SIDE, SIDE)), g.input("weight", (1,), "float64")
    x = conv(g, image, g.width(64))
    seen: dict[int, str] = {}
    for side in VQ:
        for _ in range(2):
            x = _vq_block(g, x, side)
        seen[side] = x
        if side != 16:
            x = conv(g, x, g.shapes[x][1], s=2, pad=(0, 0, 1, 1))
    x = _vq_middle(g, x)
    latent = conv(g, g.silu(group_norm(g, x)), g.width(LATENT))
    logits, codes = _picked(g, latent)
    x = _vq_middle(g, conv(g, _adapted(g, codes, latent), g.width(512)))
    share = g.cast(fidelity, "float32")
    for side in reversed(VQ):
        for _ in range(2):
            x = _vq_block(g, x, side)
        if 32 <= side <= 256:
            x = _fused(g, seen[side], x, share)
        if side != 512:
            x = resize(g, x, 2, "nearest")
            x = conv(g, x, g.shapes[x][1])
    picture = conv(g, group_norm(g, x), 3, gain=0.3)
    g.output(blend(g, image, picture), "output")
    g.output(logits, "logits")
    g.output(latent, "lq_feat")
    return g


def _vq_block(g: Net, x: str, side: int) -> str:
    """A residual block; at 16 px with attention."""
    x = _res(g, x, g.width(VQ[side]))
    return _attention(g, x) if side == 16 else x


def _res(g: Net, x: str, out: int) -> str:
    """A residual block with group norms."""
    y = conv(g, g.silu(group_norm(g, x)), out, gain=SILU)
    y = conv(g, g.silu(group_norm(g, y)), out, gain=0.5)
    return g.add(x if g.shapes[x][1] == out else conv(g, x, out, k=1), y)


def _attention(g: Net, x: str) -> str:
    """Attention between the places of a picture, one head."""
    shape = g.shapes[x]
    wide, places = shape[1], shape[2] * shape[3]
    norm = group_norm(g, x)
    q, k, v = (g.reshape(conv(g, norm, wide, k=1), (1, wide, places)) for _ in range(3))
    share = g.softmax(g.mul(matmul(g, g.transpose(q, (0, 2, 1)), k), wide**-0.5))
    y = g.reshape(matmul(g, v, g.transpose(share, (0, 2, 1))), shape)
    return g.add(x, conv(g, y, wide, k=1, gain=0.5))


def _vq_middle(g: Net, x: str) -> str:
    """Residual block, attention, residual block."""
    wide = g.shapes[x][1]
    return _res(g, _attention(g, _res(g, x, wide)), wide)


def _picked(g: Net, latent: str) -> tuple[str, str]:
    """The transformer: (1, 256, 1024) logits, and the codes they pick as a picture of 16 px."""
    wide, channels = g.width(MODEL, 32), g.shapes[latent][1]
    position = g.weight((TOKENS, 1, wide), normal((TOKENS, 1, wide), 0.02))
    x = g.transpose(g.reshape(latent, (1, channels, TOKENS)), (2, 0, 1))
    x = linear(g, x, wide)
    for _ in range(1 if g.small else 9):
        norm = layer_norm(g, x)
        placed = g.add(norm, position)
        x = g.add(x, _heads(g, placed, norm))
        y = linear(g, layer_norm(g, x), 2 * wide)
        y = g.mul(g.mul(y, g.add(g.unary("Erf", g.div(y, math.sqrt(2.0))), 1.0)), 0.5)
        x = g.add(x, linear(g, y, wide, gain=0.5))
    logits = linear(g, layer_norm(g, x), CODES, bias=False)
    logits = g.transpose(logits, (1, 0, 2))
    best = g.op("ArgMax", [logits], (1, TOKENS), axis=2, keepdims=0)
    book = g.weight((CODES, channels), normal((CODES, channels), 1.0))
    codes = g.op("Gather", [book, best], (1, TOKENS, channels), axis=0)
    return logits, g.reshape(g.transpose(codes, (0, 2, 1)), (1, channels, 16, 16))


def _heads(g: Net, placed: str, value: str) -> str:
    """Attention between tokens with eight heads; positions enter queries and keys only."""
    wide = g.shapes[placed][-1]
    count, head = 8, wide // 8

    def split(x: str, perm: tuple[int, int, int]) -> str:
        return g.transpose(g.reshape(linear(g, x, wide), (TOKENS, count, head)), perm)

    q, k, v = split(placed, (1, 0, 2)), split(placed, (1, 2, 0)), split(value, (1, 0, 2))
    y = matmul(g, g.softmax(matmul(g, g.mul(q, head**-0.5), k)), v)
    return linear(g, g.reshape(g.transpose(y, (1, 0, 2)), (TOKENS, 1, wide)), wide, gain=0.5)


def _adapted(g: Net, x: str, style: str) -> str:
    """A picture with the mean and deviation of each channel of another."""

    def moments(y: str) -> tuple[str, str]:
        middle = g.reduce("ReduceMean", y, [2, 3])
        away = g.sub(y, middle)
        variance = g.reduce("ReduceMean", g.mul(away, away), [2, 3])
        return middle, g.unary("Sqrt", g.add(variance, 1e-5))

    (mean, deviation), (wanted, spread) = moments(x), moments(style)
    return g.add(g.mul(g.div(g.sub(x, mean), deviation), spread), wanted)


def _fused(g: Net, seen: str, x: str, share: str) -> str:
    """The generator's features, changed by what the encoder saw, as far as `share` says."""
    wide = g.shapes[x][1]
    both = _res(g, g.concat([seen, x]), wide)
    scale, shift = (conv(g, g.leaky(conv(g, both, wide, gain=LEAKY)), wide, gain=0.1) for _ in range(2))
    return g.add(x, g.mul(g.add(g.mul(x, scale), shift), share))

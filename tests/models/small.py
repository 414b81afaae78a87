"""The small real networks beside the repository, as a user would write their cards."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from mien.models.card import Card, File, Pixels, Tensor
from mien.models.detectors import CELLS, SIDE, STRIDES, YUNET

_UNIT = (1 / 255, 1 / 255, 1 / 255)
_HALF = (0.5, 0.5, 0.5)


def _card(
    name: str, file: str, task: str, family: str, inputs: Tensor, outputs: tuple[Tensor, ...], pixels: Pixels
) -> Card:
    return Card(
        name=name,
        task=task,  # type: ignore[arg-type]
        files=(File(file),),
        licence="MIT",
        inputs=(inputs,),
        outputs=outputs,
        family=family,
        pixels=pixels,
        least=12.0,
        tolerance=0.0,
        engine="openvino",
    )


def _ssd(name: str, file: str, rows: int) -> Card:
    outputs = (Tensor("loc", (rows, 4)), Tensor("conf", (rows, 2)), Tensor("landms", (rows, 10)))
    means = (104 / 255, 117 / 255, 123 / 255)
    return _card(
        name,
        file,
        "detect",
        "ssd",
        Tensor("input", (3, SIDE, SIDE)),
        outputs,
        Pixels(SIDE, means, _UNIT, "BGR"),
    )


SCRFD = _card(
    "small_scrfd",
    "scrfd_2.5g_kps.onnx",
    "detect",
    "scrfd",
    Tensor("images", (3, SIDE, SIDE)),
    tuple(Tensor("", (2 * cells, width)) for width in (1, 4, 10) for cells in CELLS),
    Pixels(SIDE, _HALF, (128 / 255, 128 / 255, 128 / 255)),
)
YUNET_N = replace(
    YUNET, name="small_yunet_n", files=(File("yunet_n_640_640.onnx"),), tolerance=0.0, engine="openvino"
)
YUNET_S = replace(YUNET_N, name="small_yunet_s", files=(File("yunet_s_640_640_opencv2023mar.onnx"),))
YUNET_ANY = replace(
    YUNET_N,
    name="small_yunet_any",
    files=(File("yunet_n_dynamic.onnx"),),
    inputs=(Tensor("input", (3, -1, -1)),),
    outputs=tuple(
        Tensor(f"{name}_{stride}", (-1, k))
        for name, k in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in STRIDES
    ),
    pixels=Pixels(320, std=_UNIT, order="BGR"),
)
RETINA = _ssd("small_retina", "retinaface_mobilenet0.25_640.onnx", 16800)
SLIM = _ssd("small_slim", "retinaface_slim_640.onnx", 23500)
FACEAPI = _card(
    "small_faceapi",
    "faceapi_68_112.onnx",
    "landmark",
    "faceapi",
    Tensor("input", (3, 112, 112)),
    (Tensor("landmarks", (136,)),),
    Pixels(112, std=_UNIT),
)
FACEMESH_ONNX = _card(
    "small_facemesh",
    "facemesh_468_192.onnx",
    "landmark",
    "facemesh",
    Tensor("input", (3, 192, 192)),
    (Tensor("landmarks", (1404,)), Tensor("score", (1,))),
    Pixels(192, _HALF, _HALF),
)
FSANET = tuple(
    _card(
        f"small_fsanet_{kind}",
        f"fsanet-{kind}.onnx",
        "pose",
        "fsanet",
        Tensor("input", (3, 64, 64)),
        (Tensor("output", (3,)),),
        Pixels(64, _HALF, (128 / 255, 128 / 255, 128 / 255), "BGR"),
    )
    for kind in ("1x1", "var")
)
DETECTORS = (SCRFD, YUNET_N, YUNET_S, YUNET_ANY, RETINA, SLIM)


def installed(card: Card, shared: Path, home: Path) -> Card:
    """The card with its file's checksum and size, after the file was put into the store at `home`."""
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for file in card.files:
        source = shared / "models" / file.name
        if not (folder / file.name).exists():
            shutil.copyfile(source, folder / file.name)
        data = source.read_bytes()
        files.append(File(file.name, hashlib.sha256(data).hexdigest(), len(data)))
    return replace(card, files=tuple(files))

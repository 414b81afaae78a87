"""Operators of the torch engine do what ONNX Runtime does, in every mode that networks use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.types import Array
from tests.models.torchnets import f, i, ran, reference, single

pytest.importorskip("torch", reason="torch is not installed")

NONE = np.zeros(0, np.float32)
ROI = {"x": f(1, 2, 5, 6), "roi": NONE}


def resize(
    how: str, where: str, sizes: Array | None = None, **more: Any
) -> tuple[str, dict[str, Array], Any]:
    scales = {"scales": np.array([1, 1, 1.7, 0.6], np.float32)} if sizes is None else {"scales": NONE}
    rest = {} if sizes is None else {"sizes": sizes}
    named = {"mode": how, "coordinate_transformation_mode": where, **more}
    return "Resize", {**ROI, **scales, **rest}, named


CASES: list[tuple[str, dict[str, Array], dict[str, Any]]] = [
    *(
        resize(how, where, sizes)
        for how in ("nearest", "linear", "cubic")
        for where in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
        for sizes in (None, i(1, 2, 10, 12), i(1, 2, 3, 4), i(1, 2, 7, 1))
    ),
    *(
        resize("nearest", "half_pixel", i(1, 2, 9, 4), nearest_mode=how)
        for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    resize("nearest", "asymmetric", i(1, 2, 10, 24), nearest_mode="floor"),
    resize("cubic", "half_pixel", cubic_coeff_a=-0.5, exclude_outside=1),
    resize("linear", "half_pixel_symmetric"),
    ("Resize", {"x": f(2, 3, 4), "roi": NONE, "scales": np.array([1, 1, 2], np.float32)}, {"mode": "linear"}),
    *(
        ("ConvTranspose", {"x": f(1, 4, 5, 6), "w": f(4, 3, 3, 3), "b": f(3)}, {"strides": [2, 2], **more})
        for more in (
            {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]},
            {"pads": [1, 1, 1, 1], "output_padding": [1, 1]},
            {"output_shape": [10, 12]}, {"output_shape": [10, 12], "auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"dilations": [2, 1]},
        )
    ),
    ("ConvTranspose", {"x": f(1, 4, 5, 6), "w": f(4, 2, 4, 4)}, {"strides": [2, 2], "group": 2}),
    *(
        ("Conv", {"x": f(2, 4, 7, 8), "w": f(6, 4, 3, 3), "b": f(6)}, {"strides": [2, 2], **more})
        for more in (
            {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}, {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        )
    ),
    ("Conv", {"x": f(2, 4, 9), "w": f(6, 2, 3)}, {"group": 2}),
    *(
        (kind, {"x": f(1, 2, 7, 8)}, {"kernel_shape": [3, 2], "strides": [2, 2], **more})
        for kind in ("MaxPool", "AveragePool")
        for more in (
            {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"}, {"ceil_mode": 1},
        )
    ),
    (
        "AveragePool", {"x": f(1, 2, 7, 8)},
        {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "count_include_pad": 1},
    ),
    ("MaxPool", {"x": f(1, 2, 9, 8)}, {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    *(
        ("Pad", {"x": f(1, 2, 5, 6), "pads": pads}, {"mode": mode})
        for mode in ("constant", "reflect", "edge")
        for pads in (i(0, 0, 1, 2, 0, 0, 3, 0), i(0, 1, 0, 2, 0, 1, 0, 0), i(0, 0, -1, 2, 0, 0, 1, -2))
    ),
    ("Pad", {"x": f(3, 4), "pads": i(1, 2, 0, 1), "value": np.array(7.0, np.float32)}, {}),
    ("Pad", {"x": f(3, 4), "pads": i(2, 1), "value": np.array(2.0, np.float32), "axes": i(-1)}, {}),
    *(
        ("Slice", {"x": f(4, 6, 5), "starts": starts, "ends": ends, "axes": i(0, -1), "steps": steps}, {})
        for starts, ends, steps in (
            (i(-1, 4), i(-9, -9), i(-1, -2)), (i(1, 0), i(3, 99), i(1, 3)), (i(3, -2), i(0, 1), i(-2, -1)),
            (i(0, 2), i(-1, 2), i(2, 1)), (i(99, -99), i(-(2**63), 2**63 - 1), i(-3, 2)),
        )
    ),
    *(
        ("Gather", {"x": f(4, 6, 5), "at": at}, {"axis": axis})
        for at in (np.array(-2), i(1, 2), i(3, 0, -1), i(0, 1, 2, 3).reshape(2, 2))
        for axis in (0, 1, -1)
    ),
    ("GatherElements", {"x": f(3, 4), "at": i(0, -1, 2, 1, 0, 2).reshape(2, 3)}, {"axis": 1}),
    ("GatherND", {"x": f(3, 4, 2), "at": i(0, -1, 2, 1).reshape(2, 2)}, {}),
    ("ScatterND", {"x": f(4, 3), "at": i(0, 2).reshape(2, 1), "new": f(2, 3)}, {}),
    (
        "ScatterND", {"x": f(4, 3), "at": i(1, 1, -1, 0, 1, 1).reshape(3, 2), "new": f(3)},
        {"reduction": "add"},
    ),
    ("ScatterElements", {"x": f(4, 3), "at": i(0, -1, 2).reshape(1, 3), "new": f(1, 3)}, {"axis": 0}),
    ("InstanceNormalization", {"x": f(2, 3, 4, 5), "s": f(3), "b": f(3)}, {"epsilon": 1e-3}),
    ("InstanceNormalization", {"x": f(2, 3, 7), "s": f(3), "b": f(3)}, {}),
    ("BatchNormalization", {"x": f(2, 3, 4), "s": f(3), "b": f(3), "m": f(3), "v": np.abs(f(3))}, {}),
    ("LayerNormalization", {"x": f(2, 3, 4), "s": f(4), "b": f(4)}, {}),
    ("LayerNormalization", {"x": f(2, 3, 4), "s": f(3, 4), "b": f(3, 4)}, {"axis": 1}),
    ("PRelu", {"x": f(2, 3, 4, 5), "slope": f(3, 1, 1)}, {}),
    ("PRelu", {"x": f(2, 3, 4, 5), "slope": f(1)}, {}),
    ("PRelu", {"x": f(2, 3, 4, 5), "slope": f(4, 1)}, {}),
    ("Gemm", {"x": f(3, 4), "b": f(5, 4), "c": f(5)}, {"transB": 1}),
    ("Gemm", {"x": f(4, 3), "b": f(4, 5), "c": f(3, 1)}, {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", {"x": f(3, 4), "b": f(4, 5)}, {}),
    ("Einsum", {"x": f(2, 3, 4), "w": f(5, 3)}, {"equation": "b c n, o c -> b o n"}),
    ("Einsum", {"x": f(2, 3, 4, 4)}, {"equation": "...ii->...i"}),
    ("TopK", {"x": np.array([[3, 1, 3, 2], [0, 0, 0, 5]], np.float32), "k": i(3)}, {"outputs": 2}),
    ("TopK", {"x": f(4, 3), "k": i(2)}, {"outputs": 2, "largest": 0, "axis": 0}),
    ("Softmax", {"x": f(2, 3, 4)}, {"opset": 11}),
    ("Softmax", {"x": f(2, 3, 4)}, {"axis": 1}),
    ("ArgMax", {"x": np.array([[3, 1, 3, 2]], np.float32)}, {"axis": 1, "select_last_index": 1}),
    ("ArgMax", {"x": np.array([[3, 1, 3, 2]], np.float32)}, {"axis": 1, "keepdims": 0}),
    ("DepthToSpace", {"x": f(1, 8, 3, 2)}, {"blocksize": 2}),
    ("DepthToSpace", {"x": f(1, 8, 3, 2)}, {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", {"x": f(1, 2, 4, 6)}, {"blocksize": 2}),
    ("ReduceL2", {"x": f(2, 3, 4), "axes": i(-1, 0)}, {"keepdims": 0}),
    ("ReduceMean", {"x": f(2, 3, 4), "axes": i(1)}, {}),
    ("ReduceMax", {"x": f(2, 3, 4)}, {"axes": [1, 2], "opset": 17}),
    ("ReduceSum", {"x": f(2, 3, 4)}, {"noop_with_empty_axes": 1}),
    ("ReduceProd", {"x": f(2, 3, 4)}, {"keepdims": 0}),
    ("CumSum", {"x": f(2, 5), "axis": np.array(1)}, {"exclusive": 1, "reverse": 1}),
    ("Clip", {"x": f(2, 5), "low": NONE, "high": np.array(0.3, np.float32)}, {}),
    ("Clip", {"x": f(2, 5)}, {"min": -0.5, "max": 0.5, "opset": 6}),
    ("Mod", {"x": f(2, 5), "b": f(5)}, {"fmod": 1}),
    ("Pow", {"x": np.abs(f(2, 5)), "b": np.array(-0.5, np.float32)}, {}),
    ("Reshape", {"x": f(2, 3, 4), "to": i(0, -1)}, {}),
    ("Split", {"x": f(2, 7), "sizes": i(3, 4)}, {"axis": 1, "outputs": 2}),
    ("Split", {"x": f(2, 7)}, {"axis": 1, "outputs": 3, "num_outputs": 3}),
    ("Expand", {"x": f(3, 1), "to": i(2, 1, 4)}, {}),
    ("Tile", {"x": f(3, 2), "by": i(2, 3)}, {}),
    ("Trilu", {"x": f(4, 4), "k": np.array(-1)}, {"upper": 0}),
    ("Upsample", {"x": f(1, 2, 3, 4), "s": np.array([1, 1, 2, 3], np.float32)}, {"opset": 9}),
    (
        "Upsample", {"x": f(1, 2, 3, 4), "s": np.array([1, 1, 2, 2], np.float32)},
        {"opset": 9, "mode": "linear"},
    ),
    ("Resize", {"x": f(1, 2, 6, 4), "s": np.array([1, 1, 0.5, 2], np.float32)}, {"opset": 10}),
    ("GridSample", {"x": f(1, 2, 5, 6), "g": f(1, 3, 4, 2)}, {"opset": 16, "padding_mode": "border"}),
    ("HardSigmoid", {"x": f(2, 5)}, {"alpha": 0.3}),
    ("MeanVarianceNormalization", {"x": f(2, 3, 4, 5)}, {"opset": 12}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"), CASES, ids=[f"{k}-{case[0]}" for k, case in enumerate(CASES)]
)
def test_operators_do_as_they_are_defined(
    tmp_path: Path, kind: str, inputs: dict[str, Array], attributes: dict[str, Any]
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(single(kind, inputs, **attributes))
    given = {"x": inputs["x"]}
    wanted = reference(path, given)
    found = ran(path, given)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_one_hot_and_places_that_come_with_the_input(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    at = i(2, -1, 0, 7)
    inputs = {"x": at, "depth": np.array(3), "values": np.array([-1, 2], np.float32)}
    path.write_bytes(single("OneHot", inputs, axis=0))
    wanted = np.full((3, 4), -1.0)
    wanted[2, 0] = wanted[2, 1] = wanted[0, 2] = 2.0
    np.testing.assert_array_equal(ran(path, {"x": at})["y0"], wanted)
    table = f(4, 3)
    path.write_bytes(single("Gather", {"table": table, "x": i(3, -4)}))
    np.testing.assert_array_equal(ran(path, {"x": i(3, -4)})["y0"], table[[3, 0]])

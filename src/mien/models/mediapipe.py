"""The cards of the default networks: BlazeFace finds faces, FaceMesh places 468 landmarks (MediaPipe)."""

from __future__ import annotations

from mien.models.card import Card, Member, Pixels, Tensor, Wheel

_DETECTION = "mediapipe/modules/face_detection/"
_LANDMARK = "mediapipe/modules/face_landmark/"
_ASSETS = "https://storage.googleapis.com/mediapipe-assets/"

MEDIAPIPE = Wheel(
    requirement="mediapipe==0.10.21",
    filename="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    bytes=35_622_638,
    python="3.11",
    abi="cp311",
    platform="manylinux_2_28_x86_64",
    members=(
        Member(
            _DETECTION + "face_detection_full_range_sparse.tflite",
            "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
            676_746,
        ),
        Member(
            _DETECTION + "face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
            229_714,
        ),
        Member(
            _LANDMARK + "face_landmark.tflite",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
            1_242_398,
        ),
        Member(
            "mediapipe/python/solutions/face_mesh_connections.py",
            "cc7171e44d0612db38720cb2fd2516c395992cdd7457efe341543be6f3c22d87",
            36_170,
        ),
    ),
)
"""MediaPipe's wheel. Its topology file is parsed as text; none of its code runs."""

# The generations are those that MediaPipe's own build files (third_party/external_files.bzl) pin
# together with these checksums.
BLAZEFACE_FULL = Card(
    name="blazeface_full_range",
    family="blazeface",
    vendor="Google",
    commercial=True,
    least=16.0,
    engine="openvino",
    tolerance=0.0,
    task="detect",
    files=(
        MEDIAPIPE.file(
            _DETECTION + "face_detection_full_range_sparse.tflite",
            _ASSETS + "face_detection_full_range_sparse.tflite?generation=1674261618323821",
        ),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input_1", (192, 192, 3), "R'G'B' in [-1, 1], letterboxed"),),
    pixels=Pixels(192, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), layout="NHWC"),
    outputs=(
        Tensor("Identity", (2304, 16), "per cell of 48 x 48: centre, size, six points; unit 1/192"),
        Tensor("Identity_1", (2304, 1), "logit of the confidence"),
    ),
    notes="Faces of about 8 to 100 % of the picture's longer side.",
)

BLAZEFACE_SHORT = Card(
    name="blazeface_short_range",
    family="blazeface",
    vendor="Google",
    commercial=True,
    least=16.0,
    engine="openvino",
    tolerance=0.0,
    task="detect",
    files=(
        MEDIAPIPE.file(
            _DETECTION + "face_detection_short_range.tflite",
            _ASSETS + "face_detection_short_range.tflite?generation=1677044301978921",
        ),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input", (128, 128, 3), "R'G'B' in [-1, 1], letterboxed"),),
    pixels=Pixels(128, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), layout="NHWC"),
    outputs=(
        Tensor("regressors", (896, 16), "16 x 16 cells twice, 8 x 8 cells six times; unit 1/128"),
        Tensor("classificators", (896, 1), "logit of the confidence"),
    ),
    notes="Selfie distance: faces over about 20 % of the picture's longer side.",
)

FACEMESH = Card(
    name="facemesh",
    family="facemesh",
    vendor="Google",
    commercial=True,
    engine="openvino",
    tolerance=0.0,
    task="landmark",
    files=(
        MEDIAPIPE.file(
            _LANDMARK + "face_landmark.tflite",
            _ASSETS + "face_landmark.tflite?generation=1676316347980492",
        ),
        MEDIAPIPE.file("mediapipe/python/solutions/face_mesh_connections.py"),
    ),
    licence="Apache-2.0",
    inputs=(Tensor("input_1", (192, 192, 3), "R'G'B' in [0, 1], eyes level"),),
    outputs=(
        Tensor("conv2d_21", (1, 1, 1404), "468 points as x, y, z in pixels of the input"),
        Tensor("conv2d_31", (1, 1, 1), "logit: is there a face"),
    ),
    notes="Dense 468-point landmarker.",
)

CARDS = (BLAZEFACE_FULL, BLAZEFACE_SHORT, FACEMESH)
"""In order of use."""

"""Every setting, once: the command line, the server, the studio and the docs derive from here.

Imports pydantic and the standard library only, so that `--help` needs no heavy library.
A field is documented by the string under it, with unit and range.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share from 0 to 1."""


Region: TypeAlias = Literal[
    "skin",
    "left_brow",
    "right_brow",
    "left_eye",
    "right_eye",
    "glasses",
    "nose",
    "mouth",
    "upper_lip",
    "lower_lip",
]
"""A part of the face."""


class Section(BaseModel):
    """A frozen group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Detect(Section):
    """Finding faces in whole frames."""

    model: str = "blazeface_full_range"
    """Card of the face detector (`mien models list --task detect`)."""
    score: Unit = 0.5
    """Least confidence of a detection, 0 to 1."""
    min_size: Annotated[float, Field(ge=8.0, le=4096.0)] = 24.0
    """Height in pixels of the smallest face worth finding, 8 to 4096; smaller values cost time."""
    interval: Annotated[float, Field(gt=0.0, le=10.0)] = 0.5
    """Seconds between two whole-frame detections while every known face is being followed, up to 10."""
    lock: bool = False
    """While everybody who was found in a shot is being followed, look closely around them alone, and at the
    rest of the frame only as a whole: faster where the background moves, but somebody small who comes in
    later may be found only at the next cut, or when one of them is lost."""
    side_score: Unit = 0.5
    """Least confidence of a face turned further than about 50 degrees to the side, 0 to 1, in detecting and
    in following; `score` counts where it is lower."""


class Track(Section):
    """Following faces through time."""

    model: str = "facemesh"
    """Card of the dense landmarker that follows a face; `facemesh` is the one of this version."""
    gap: Annotated[float, Field(ge=0.0, le=2.0)] = 0.4
    """Longest interruption in seconds that is bridged, 0 to 2."""
    smooth: Unit = 0.5
    """Smoothing of the points over the whole track: 0 none, 1 strong. Never lags, keeps blinks."""
    cut: Unit = 0.35
    """How different two neighbouring frames must be to count as a scene cut, 0 to 1; 1 finds none."""
    refine: str = ""
    """Card of a 68-point landmarker that places the points once more; empty: those of `model` are used."""
    embedder: str = "auto"
    """Card of the network that recognises people; `auto` takes the best one that is installed, `none` goes by
    the look of their skin."""


class Swap(Section):
    """Replacing the face."""

    model: str = "mesh"
    """Swapper: `mesh`, which needs no network weights, a card (`mien models list --task swap`), or the path
    of a `.dfm` file."""
    strength: Annotated[float, Field(ge=0.0, le=1.5)] = 1.0
    """How much of the new identity, 0 (none) to 1 (all); above 1 swap networks exaggerate it."""
    size: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side in pixels of the square a swap network works on, a multiple of its own; 0 is its own. Larger ones
    are swapped in interleaved tiles and cost in proportion to their area."""
    every: Annotated[int, Field(ge=1, le=8)] = 1
    """Swap networks work on every frame (1) or on every so-maniest, 2 to 8, and where flow cannot carry the
    new face between: faster by almost as much, a little softer and less exact in quick expressions. Videos
    and animations only."""
    morph: Unit = 1.0
    """For `.dfm` swappers that take it: how far the shape of the new face is taken, 0 to 1."""
    colour: Literal["none", "mean", "low", "histogram"] = "low"
    """How light and skin tone are taken from the target: not, by mean and deviation in CIELAB, by the low
    frequencies, or by the distribution of each channel. `mesh` knows the low frequencies only."""
    light: Unit = 1.0
    """How far lighting and skin tone follow the target, 0 to 1."""
    grain: Unit = 1.0
    """How far sharpness and noise follow the target, 0 to 1."""
    eyes: Literal["target", "source"] = "target"
    """Whose eyeballs are shown: the target's keep the gaze, the source's keep the likeness."""


class Mask(Section):
    """Where the new face is shown."""

    feather: Unit = 0.5
    """Softness of the edge, 0 (hard) to 1 (a quarter of the face)."""
    grow: Annotated[float, Field(ge=-0.3, le=0.3)] = 0.0
    """Grows (above 0) or shrinks the area, as a share of the face's size, -0.3 to 0.3."""
    padding: tuple[Unit, Unit, Unit, Unit] = (0.0, 0.0, 0.0, 0.0)
    """How much of the square is left out at the top, right, bottom and left, as shares of its side; networks
    only."""
    occlusion: str = ""
    """Cards of the networks that find what covers the face, with commas; their least counts; empty: none.
    Networks only."""
    regions: tuple[Region, ...] = ()
    """Parts of the face to change, as `parser` sees them in the new face; none: all. Networks only."""
    parser: str = "bisenet_resnet_34"
    """Card of the network that finds the regions."""
    areas: tuple[Literal["upper", "lower", "mouth"], ...] = ()
    """Areas between landmarks to change; none: all. Networks only."""


class Enhance(Section):
    """Restoring the new face."""

    model: str = ""
    """Card of the enhancer (`mien models list --task enhance`); empty: none. Restores what swap networks
    changed."""
    blend: Unit = 0.8
    """Share of the enhanced face in the result, 0 to 1."""
    fidelity: Unit = 0.5
    """For enhancers that take it: 0 is the cleanest face, 1 stays nearest to what it was."""


class Safety(Section):
    """Judging whether a clip may be worked on."""

    content: Literal["auto", "on", "off"] = "auto"
    """The gate against explicit content: `auto` judges where its networks are installed and says where not,
    `on` needs them, `off` does not judge and says so in the result."""


class Encode(Section):
    """Writing the result."""

    codec: Literal["auto", "h264", "hevc", "av1", "vp9", "prores", "ffv1", "mjpeg"] = "auto"
    """Video codec; `auto` stays in the input's family."""
    quality: Annotated[int, Field(ge=0, le=100)] = 85
    """Quality of videos and pictures, 0 to 100; 85 is visually lossless, 100 lossless where the codec can."""
    preset: Literal["fastest", "fast", "balanced", "slow", "slowest"] = "fast"
    """Encoding speed against file size."""
    bitrate: Annotated[int, Field(ge=0)] = 0
    """Video bit rate in bit/s, for codecs that take one; 0 lets `quality` decide."""
    fps: Annotated[str, Field(pattern=r"^(|\d+(\.\d+)?|\d+/[1-9]\d*)$")] = ""
    """Output frames a second ("25", "29.97", "30000/1001"); empty keeps the input's exact times."""
    between: Literal["repeat", "flow"] = "repeat"
    """What is shown between two frames where `fps` is above the input's: `repeat` shows the nearer one,
    `flow` makes a picture of both by what moves between them; across cuts, where nothing moves, and where
    movement cannot be followed, it shows the nearer one, too."""
    size: Annotated[str, Field(pattern=r"^(|\d+x\d+)$")] = ""
    """Output width and height as shown ("1280x720"); empty keeps the input's."""


class Device(Section):
    """The machine."""

    threads: Annotated[int, Field(ge=0, le=512)] = 0
    """Processor threads to use; 0 for all."""
    engine: Literal[
        "auto",
        "openvino",
        "onnxruntime",
        "torch",
        "cuda",
        "tensorrt",
        "tensorrt-rtx",
        "migraphx",
        "coreml",
        "directml",
    ] = "auto"
    """What runs the networks; `auto` is what was measured to be fastest here. `tensorrt` is made ready while
    another engine works; `migraphx` is for AMD's cards, `directml` for Windows, `coreml` for macOS."""
    processor: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")] = "auto"
    """What computes the networks: `cpu`, an NVIDIA card (`cuda`, `cuda:1`), or `auto`, the first card where
    there is one and something is installed that computes on it."""
    decode: Literal["auto", "cpu", "card"] = "auto"
    """What decodes videos: `cpu`, the video engine of an NVIDIA card (`card`; an error where it cannot), or
    `auto`, the card's where frames are changed on it and it gives every sample that the processor gives."""
    encode: Literal["auto", "cpu", "card"] = "auto"
    """What encodes videos: `cpu`, an NVIDIA card's encoder (`card`; an error where it cannot), or `auto`, the
    card's where frames are changed on it and it keeps all that the processor's keeps."""
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    """Arithmetic of the networks; `auto` takes the fastest whose error stays within the card's tolerance."""
    batch: Annotated[int, Field(ge=0, le=64)] = 0
    """Faces that a network sees at once; 0 is what was measured to be fastest within the memory."""
    memory: Annotated[int, Field(ge=0)] = 0
    """Megabytes that loaded networks may take; 0 for half of what the machine has."""


class Settings(Section):
    """All groups together."""

    detect: Detect = Detect()
    track: Track = Track()
    swap: Swap = Swap()
    mask: Mask = Mask()
    enhance: Enhance = Enhance()
    safety: Safety = Safety()
    encode: Encode = Encode()
    device: Device = Device()


class Role(Section):
    """Who becomes whom."""

    sources: tuple[Path, ...]
    """Pictures or videos that show the new face; several are used together. A `.dfm` swapper needs none."""
    faces: str = "prominent"
    """Whose face is replaced: prominent, all, left, right, largest, track ids ("1,4") or persons ("person1").
    `prominent` and `largest` are one person; after a cut they are changed only where they are surely the
    same."""
    like: tuple[Path, ...] = ()
    """Pictures of the person whose face is replaced; where there are some, `faces` does not count."""
    swap: Swap | None = None
    """This person's own settings; None for those of the job."""
    mask: Mask | None = None
    """The same for the mask."""
    enhance: Enhance | None = None
    """The same for the enhancer."""


Value: TypeAlias = bool | int | float | str | tuple[float, ...] | tuple[str, ...]
"""A setting's value."""
Values: TypeAlias = dict[Annotated[str, Field(pattern=r"^(swap|mask|enhance)\.[a-z_]+$")], Value]
"""Settings by name ("swap.strength"), of the groups `swap`, `mask` and `enhance`."""


class Key(Section):
    """A moment inside a cue for which numbers are given."""

    at: str
    """The moment, written like `Job.start`."""
    values: Values = {}
    """Numbers at that moment; between two moments they run evenly, before the first and after the last one
    they stay."""
    show: Unit | None = None
    """The same for how much of the new face is shown."""


class Cue(Section):
    """A stretch of time in which something is otherwise. Of cues that overlap, later ones lie on top."""

    start: str = ""
    """First moment, written like `Job.start` and counted like it; empty: the beginning."""
    end: str = ""
    """Moment after the last one; empty: the end."""
    roles: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Whom it is for: numbers of the cast, from 1; none: all."""
    show: Unit | None = None
    """How much of the new face is shown, 0 (the target's own stays) to 1; None leaves it."""
    sources: tuple[Path, ...] = ()
    """Pictures or videos of another new face; none: it stays the same."""
    values: Values = {}
    """Changed settings; `swap.every` cannot change."""
    keys: tuple[Key, ...] = ()
    """Numbers that change within the cue."""
    ease: Annotated[float, Field(ge=0.0, le=60.0)] = 0.0
    """Seconds over which numbers go from what they were to the cue's, and back before it ends, 0 to 60."""


class Job(Section):
    """One piece of work: its canonical form is hashed into its id."""

    target: Path
    """The clip to change."""
    output: Path
    """The file to write."""
    cast: tuple[Role, ...] = ()
    """Who becomes whom."""
    start: str = ""
    """First moment: seconds ("12.5"), a clock time ("1:02.5") or a frame ("250f"); empty: the beginning."""
    end: str = ""
    """Moment after the last one, written like `start`; empty: the end."""
    whole: bool = False
    """Whether people are looked for in the whole video even where `start` or `end` render a part: tracks
    and persons then have the numbers that an analysis of the whole video gives them."""
    cues: tuple[Cue, ...] = ()
    """What is otherwise in parts of a video."""
    settings: Settings = Settings()
    """Everything else."""


class Feed(Section):
    """A live run: what comes in, and what is drawn on what goes out."""

    input: str = "camera"
    """`camera` or `camera:1`, a camera's name, a video file, or the address of a stream
    ("rtsp://...", "udp://...")."""
    size: Annotated[str, Field(pattern=r"^(|\d+x\d+)$")] = ""
    """Width and height asked of a camera ("1280x720"); empty: its own."""
    fps: Annotated[float, Field(ge=0.0, le=240.0)] = 0.0
    """Frames a second asked of a camera; 0: its own."""
    pixels: str = ""
    """What a camera is to deliver: `mjpeg`, `h264` or a pixel format such as `yuyv422`; empty: it chooses.
    Many cameras reach their full rate with `mjpeg` only."""
    sound: str = "auto"
    """`auto` takes a file's or stream's own sound, `none` none; anything else names a microphone."""
    delay: Annotated[float, Field(ge=-2000.0, le=5000.0)] = 0.0
    """Milliseconds that the sound is held back beyond the picture's own delay, -2000 to 5000."""
    loop: bool = False
    """A file begins again at its end."""
    reconnect: Annotated[float, Field(ge=0.0, le=3600.0)] = 10.0
    """Seconds for which a camera or stream that is lost is tried again, up to 3600; 0 ends with an error at
    once."""
    label: bool = True
    """Draw on the picture that it was edited by a machine."""
    statistics: bool = False
    """Draw frame rate, delay and dropped frames on the picture."""
    clock: bool = False
    """Draw the time of capture as a strip of black and white cells along the upper edge, by which the delay
    is measured at the far end of a stream."""

"""What can go wrong, as exceptions that name their subject.

MienError
 ├─ MediaError          a clip or picture cannot be read or written
 │   └─ VerificationError   what was written is not what was meant
 ├─ ModelError          a card's file is absent, broken or unusable
 │   ├─ UnknownModel
 │   └─ ChecksumError
 ├─ RuntimeUnavailable  no engine can run on the asked device
 ├─ NoFaceError         nothing to swap from, or nobody to swap
 ├─ JobError            a job folder cannot be used
 ├─ SettingsError       a setting that only the input shows to be wrong
 ├─ ContentError        a clip that is not worked on
 └─ Cancelled           somebody asked to stop

Contract breaks between our own functions are `ValueError` and `TypeError`.
"""

from __future__ import annotations

import os


class MienError(Exception):
    """A failure with a subject and an advice.

    Args:
        subject: What it is about: a path, a card's name, a frame, a field.
        problem: What is wrong with it, one clause.
        advice: What to do, one sentence; may be empty where nothing helps.
    """

    kind: str = "internal"
    """What it is about, for programs."""

    def __init__(self, subject: str | os.PathLike[str], problem: str, advice: str = "") -> None:
        self.subject = str(subject)
        self.problem = problem.rstrip(".")
        self.advice = advice
        super().__init__(self.subject, self.problem, self.advice)

    def __str__(self) -> str:
        text = f"{self.subject}: {self.problem}."
        return f"{text} {self.advice}" if self.advice else text


class MediaError(MienError):
    """A clip or picture cannot be read or written."""

    kind = "media"


class VerificationError(MediaError):
    """What was written differs from what was meant; the file is kept aside."""


class ModelError(MienError):
    """A card's file is absent, broken or unusable."""

    kind = "model"


class UnknownModel(ModelError):  # noqa: N818
    """No card has this name."""


class ChecksumError(ModelError):
    """A file's SHA-256 is not the one on its card."""


class RuntimeUnavailable(MienError):  # noqa: N818
    """No engine can run this model on the asked device."""

    kind = "runtime"


class NoFaceError(MienError):
    """No usable face where one is needed."""

    kind = "no_face"


class JobError(MienError):
    """A job folder cannot be used."""

    kind = "job"


class SettingsError(MienError):
    """A setting that only the input shows to be wrong."""

    kind = "settings"


class ContentError(MienError):
    """A clip is judged to be explicit and is not worked on."""

    kind = "content"


class Cancelled(MienError):  # noqa: N818
    """Somebody asked to stop; what is finished is kept."""

    kind = "job"

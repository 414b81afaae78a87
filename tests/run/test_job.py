from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mien.errors import JobError
from mien.models import installed
from mien.run.job import PROGRAMS, Folder, analysis_id, digest, entries, find, job_id, remove, write_json
from mien.settings import Detect, Device, Encode, Job, Role, Settings, Swap
from mien.types import Segment

JOB = Job(
    target=Path("/in/a.mp4"),
    output=Path("/out/b.mp4"),
    cast=(Role(sources=(Path("/in/s.png"),)),),
)
INPUTS = {"/in/a.mp4": "1" * 64, "/in/s.png": "2" * 64}
CARDS = {"net": "3" * 64}


def test_digest_is_canonical() -> None:
    # printf '{"a":[1,2],"b":"é"}' | sha256sum
    assert digest({"b": "é", "a": [1, 2]}) == digest(json.loads('{"a": [1, 2], "b": "\\u00e9"}'))
    assert (
        digest({"b": 1, "a": 2}) == "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772"
    )  # sha256 of {"a":2,"b":1}


@pytest.mark.parametrize(
    "job",
    [
        JOB.model_copy(update={"start": "1"}),
        JOB.model_copy(update={"output": Path("/out/c.mp4")}),
        JOB.model_copy(update={"settings": Settings(swap=Swap(light=0.5))}),
        JOB.model_copy(update={"cast": (Role(sources=(Path("/in/s.png"),), faces="all"),)}),
    ],
)
def test_id_follows_every_setting(job: Job) -> None:
    assert job_id(job, INPUTS, CARDS) != job_id(JOB, INPUTS, CARDS)


def test_id_follows_inputs_and_models_and_nothing_else() -> None:
    one = job_id(JOB, INPUTS, CARDS)
    assert (
        job_id(Job.model_validate_json(JOB.model_dump_json()), dict(reversed(INPUTS.items())), CARDS) == one
    )
    assert job_id(JOB, {**INPUTS, "/in/a.mp4": "4" * 64}, CARDS) != one
    assert job_id(JOB, INPUTS, {"net": "4" * 64}) != one


@pytest.mark.parametrize("program", PROGRAMS)
def test_ids_follow_the_programs(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = job_id(JOB, INPUTS, CARDS), analysis_id("clip", Settings(), CARDS)
    now = installed.versions(PROGRAMS)
    monkeypatch.setattr(installed, "versions", lambda names: {**now, program: "99"})
    assert job_id(JOB, INPUTS, CARDS) != one
    assert analysis_id("clip", Settings(), CARDS) != two


def test_analysis_does_not_depend_on_how_faces_are_changed() -> None:
    one = analysis_id("clip", Settings(), CARDS)
    assert analysis_id("clip", Settings(swap=Swap(light=0.1), encode=Encode(quality=20)), CARDS) == one
    assert analysis_id("clip", Settings(detect=Detect(score=0.4)), CARDS) != one
    assert analysis_id("other", Settings(), CARDS) != one
    assert analysis_id("clip", Settings(device=Device(threads=3, batch=2)), CARDS) == one
    assert analysis_id("clip", Settings(device=Device(precision="f32")), CARDS) != one
    assert analysis_id("clip", Settings(device=Device(engine="openvino")), CARDS) != one


def test_folder_keeps_its_job(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "j")
    folder.prepare(JOB, "a" * 64)
    folder.prepare(JOB, "a" * 64)
    assert folder.job() == JOB
    with pytest.raises(JobError, match="holds another job"):
        folder.prepare(JOB, "b" * 64)


def test_damaged_or_missing_record_is_said(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no job"):
        Folder(tmp_path).job()
    (tmp_path / "job.json").write_text('{"id": "x"')
    with pytest.raises(JobError, match="cannot be read"):
        Folder(tmp_path).job()
    (tmp_path / "job.json").write_text("[]")
    with pytest.raises(JobError, match="not a job's file"):
        Folder(tmp_path).job()


def test_job_of_another_version_is_said(tmp_path: Path) -> None:
    record = {"id": "a", "created": 0.0, "job": {**JOB.model_dump(mode="json"), "colour": "red"}}
    write_json(tmp_path / "job.json", record)
    with pytest.raises(JobError, match="another version"):
        Folder(tmp_path).job()


def test_segment_names_sort_in_order(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    names = [folder.segment(Segment(k, k * 250, (k + 1) * 250), ".mp4").name for k in range(1200)]
    assert names == sorted(names)
    assert names[3] == "000003-0000750-0001000.mp4"


def test_lock_keeps_others_out_and_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mien.run.job import PROGRAMS, Folder\n"
        "with Folder(Path(sys.argv[1])).locked():\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        folder = Folder(tmp_path)
        assert folder.busy
        with pytest.raises(JobError, match=f"process {other.pid}"), folder.locked():
            pass
        other.kill()
        other.wait()
    assert not folder.busy
    with folder.locked():
        assert folder.busy


def test_listing_finding_and_removing(tmp_path: Path) -> None:
    for number, name in enumerate(("aa11", "ab22")):
        folder = Folder(tmp_path / name)
        folder.prepare(JOB, name)
        record = folder.record()
        assert record is not None
        write_json(folder.path / "job.json", {**record, "created": float(number)})
    (tmp_path / "aa11" / "segments" / "000000-0000000-0000010.mp4").write_bytes(b"x" * 100)
    write_json(tmp_path / "ab22" / "result.json", {"output": "/out/b.mp4"})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "job.json").write_text("nonsense")
    first, second = entries(tmp_path)
    assert (first.id, first.state, first.segments) == ("aa11", "stopped", 1)
    assert (second.id, second.state, second.target) == ("ab22", "finished", "/in/a.mp4")
    assert find(tmp_path, "ab").path == tmp_path / "ab22"
    assert find(tmp_path, str(tmp_path / "aa11")).path == tmp_path / "aa11"
    for name, problem in (("a", "fits several"), ("x", "is no job"), ("", "is no job")):
        with pytest.raises(JobError, match=problem):
            find(tmp_path, name)
    assert remove(first) >= 100
    assert [entry.id for entry in entries(tmp_path)] == ["ab22"]


def test_clean_frees_the_segments_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "j")
    folder.prepare(JOB, "a" * 64)
    (folder.segments / "000000-0000000-0000010.mp4").write_bytes(b"x" * 100)
    assert folder.clean() == 100
    assert folder.job() == JOB

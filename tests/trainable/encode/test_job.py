"""Which videos are encoded, and what tells one job from another."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.small_encoder import VIEW
from trainable.encode.job import Job, videos_of
from trainable.errors import UserError, VideoError


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name_bytes(path))
    return paths


def name_bytes(path: Path) -> bytes:
    return path.name.encode()


def job_of(paths: list[Path]) -> Job:
    videos, folder = videos_of(paths)
    return Job(videos, folder, Path("out.parquet"), "model", "f" * 64, VIEW, 64)


def test_one_video_of_a_folder_is_enough(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.webm")
    job = job_of([tmp_path])
    assert [(video.id, video.label, job.shown(video)) for video in job.videos] == [("jump/a", "jump", "jump/a.webm")]


def test_files_are_taken_as_they_are_named_and_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path(), "b.mp4", "x/a.webm")
    job = job_of([Path("b.mp4"), Path("x/a.webm")])
    assert [(video.id, video.label, job.shown(video)) for video in job.videos] == [
        ("b", None, "b.mp4"),
        ("x/a", None, "x/a.webm"),
    ]


@pytest.mark.parametrize(
    ("paths", "error", "words"),
    [
        (["nowhere"], VideoError, "nowhere: there is no such folder"),
        (["empty"], VideoError, "holds no videos: at least one is needed"),
        (["a.webm", "nowhere.webm"], VideoError, "nowhere.webm: there is no such video"),
        (["a.webm", "a.mp4"], VideoError, "a.mp4: has the name of a.webm"),
        (["a.webm", "empty"], UserError, "empty: is a folder among 2 paths; give one folder, or video files"),
    ],
)
def test_what_cannot_be_encoded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], error: type[UserError], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path(), "a.webm", "a.mp4")
    Path("empty").mkdir()
    with pytest.raises(error, match=words):
        videos_of([*map(Path, paths)])


def test_jobs_differ_by_weights_view_and_videos_alone(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "jump/a.webm")
    job = job_of([tmp_path])
    assert replace(job, out=Path("other.parquet"), model="renamed").description == job.description
    others = [replace(job, weights_sha256="0" * 64), replace(job, view=replace(VIEW, frames=4))]
    assert all(other.description["model"] != job.description["model"] for other in others)
    before = job.description["videos"]
    path.write_bytes(b"longer than before")
    assert job_of([tmp_path]).description["videos"] != before

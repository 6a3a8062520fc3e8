"""What lies at the path of the features already is taken up, or refused in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.small_encoder import VIEW
from trainable.data.video.video_dataset import Video
from trainable.encode.job import Job
from trainable.encode.parts import Rows, begin, check_path, finish, is_finished, write_part
from trainable.errors import UserError, VideoError


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job((Video("a", tmp_path / "a.webm", None),), tmp_path, tmp_path / "out.parquet", "m", "f" * 64, VIEW, 4)


def encode(job: Job) -> None:
    begin(job)
    row = Rows(["a"], ["a.webm"], [None], [np.arange(VIEW.frames)], [np.arange(job.dim, dtype=np.float32)])
    write_part(job, 0, row)


def test_a_finished_file_is_left_as_it_is(job: Job) -> None:
    encode(job)
    assert finish(job) == (1, [])
    job.parts_folder.mkdir()  # as a kill leaves it
    assert is_finished(job, overwrite=False)
    assert not job.parts_folder.exists()
    assert not is_finished(job, overwrite=True)
    assert pq.read_table(job.out)["features"].to_pylist() == [[0, 1, 2, 3]]


def test_what_is_of_another_job_is_refused(job: Job, tmp_path: Path) -> None:
    encode(job)
    others = {
        "another model": replace(job, weights_sha256="0" * 64),
        "other videos": replace(job, videos=(Video("b", tmp_path / "b.webm", None),)),
    }
    for words, other in others.items():
        with pytest.raises(UserError, match=rf"\.out\.parquet\.parts: has the beginning of features of {words}; "):
            is_finished(other, overwrite=False)
    finish(job)
    for words, other in others.items():
        with pytest.raises(UserError, match=rf"out\.parquet: holds features of {words}; name another file by --out"):
            is_finished(other, overwrite=False)
        assert not is_finished(other, overwrite=True)
    assert job.out.exists()  # until the new one is whole


def test_parts_of_another_job_go_where_they_may_be_overwritten(job: Job) -> None:
    encode(job)
    other = replace(job, weights_sha256="0" * 64)
    assert not is_finished(other, overwrite=True)
    assert [number for number, _ in begin(other)] == [0]


def test_what_is_no_file_of_features_is_refused(job: Job, tmp_path: Path) -> None:
    words = (
        r"out\.parquet: is no file that encode has written; name another file by --out, or replace it by --overwrite"
    )
    job.out.write_bytes(b"no parquet")
    with pytest.raises(UserError, match=words):
        is_finished(job, overwrite=False)
    pq.write_table(pa.table({"a": [1]}), job.out)
    with pytest.raises(UserError, match=words):
        is_finished(job, overwrite=False)


def test_where_no_file_of_features_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out.parquet").mkdir()
    for path, words in {
        "out.parquet": r"is a folder; name a file in it, such as .*out.parquet/features.parquet",
        "out.csv": r"out\.csv: must end in \.parquet",
        "file/out.parquet": r"file/out\.parquet: cannot be written there: Not a directory",
    }.items():
        with pytest.raises(UserError, match=words):
            check_path(tmp_path / path)
    check_path(tmp_path / "new" / "out.parquet")
    assert (tmp_path / "new").is_dir()


def test_parts_without_a_plan_are_of_no_job_that_is_known(job: Job) -> None:
    encode(job)
    (job.parts_folder / "plan.json").unlink()
    assert not is_finished(job, overwrite=False)
    assert [number for number, _ in begin(job)] == [0]


def test_where_no_video_could_be_encoded_there_is_no_file(job: Job) -> None:
    begin(job)
    write_part(job, 0, Rows(skipped=[{"id": "a", "reason": "a.webm: is empty"}]))
    with pytest.raises(VideoError, match=r"none of the 1 videos could be encoded; the first: a\.webm: is empty"):
        finish(job)
    assert not job.out.exists() and not job.parts_folder.exists()

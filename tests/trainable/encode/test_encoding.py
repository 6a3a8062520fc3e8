"""Features of videos: what load_encoder gives of the clip that prepare would store, whatever ended the command."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.small_encoder import VIEW, save_small_encoder
from tests.trainable.data.kills import kill_often
from trainable.data.build.decoding import Decoders
from trainable.data.video.reader import read_clip
from trainable.encode import job as jobs
from trainable.encode.encoding import encode_parts
from trainable.encode.job import Job, videos_of
from trainable.encode.parts import begin, done_videos, finish, is_finished
from trainable.model.encoder import load_encoder


@pytest.fixture
def given(videos: Path, tmp_path: Path) -> Path:
    """A folder with eight videos of two classes and a model."""
    folder = tmp_path / "given"
    for number in range(1, 9):
        path = folder / "videos" / ("odd" if number % 2 else "even") / f"{number}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(videos / f"{number}.webm", path)
    save_small_encoder(folder / "model")
    return folder


def job_of(given: Path, out: Path) -> Job:
    encoder = load_encoder(given / "model")
    found, folder = videos_of([given / "videos"])
    return Job(found, folder, out, "model", encoder.sha256, encoder.view, encoder.dim)


def test_a_part_at_a_time_it_comes_to_the_features_of_each_clip(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PART_VIDEOS", 3)
    (given / "videos" / "even" / "4.webm").write_bytes(b"no video")
    job, encoder, counts = job_of(given, tmp_path / "out.parquet"), load_encoder(given / "model"), list[int]()
    assert not is_finished(job, overwrite=False)
    first, *rest = begin(job)
    encode_parts(job, [first], encoder, Decoders(1), counts.append)
    assert done_videos(job) == 3
    assert begin(job) == rest
    encode_parts(job, rest, encoder, Decoders(1), counts.append)
    assert (sum(counts), done_videos(job)) == (8, 8)
    count, skipped = finish(job)
    assert count == 7
    assert [clip["id"] for clip in skipped] == ["even/4"] and "4.webm: is not a readable video" in skipped[0]["reason"]
    assert not job.parts_folder.exists() and is_finished(job, overwrite=False)

    table = pq.read_table(job.out)
    assert table.schema.field("features").type.list_size == encoder.dim == 64
    assert table["id"].to_pylist() == ["even/2", "even/6", "even/8", "odd/1", "odd/3", "odd/5", "odd/7"]
    assert table["video"].to_pylist()[0] == "even/2.webm"
    assert table["label"].to_pylist() == ["even"] * 3 + ["odd"] * 4
    for row in table.to_pylist():
        tokens, frames = read_clip(given / "videos" / row["video"], VIEW)
        assert row["frames"] == frames.tolist()
        with torch.no_grad():
            expected = encoder(torch.from_numpy(VIEW.to_frames(tokens[0]))[None]).pooled[0]
        np.testing.assert_allclose(row["features"], expected.numpy(), atol=1e-5)


@pytest.mark.slow  # tests/salt_tune/test_encode.py kills it once
def test_killed_before_a_change_it_goes_on_to_the_same_file(given: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    names = r"000001\.parquet|whole\.parquet"
    contents = kill_often("tests.trainable.encode.killed:encode", tmp_path / "out", given, step=5, always=names)
    assert {"000001.parquet", "whole.parquet"} <= {name.partition(" ")[2] for name in contents}
    assert len(set(contents.values())) == 1

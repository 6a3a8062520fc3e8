"""Clips come in order, with their errors in their places, whatever happens to the workers."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from trainable.data.build.decoding import AHEAD, Decoded, Decoders, Job, decode_all
from trainable.data.store.codecs import PixelFormat, decode_jpeg
from trainable.data.video.crops import CENTRE, cuts_of
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.errors import VideoError
from trainable.hashing import digest

VIEW = View(frames=4, size=16, patch=8)


@pytest.fixture(scope="module")
def paths(videos: Path) -> list[Path]:
    return [videos / f"{number}.webm" for number in range(1, 21)]


def assert_decoded(results: list[Decoded | VideoError], paths: list[Path]) -> None:
    assert len(results) == len(paths)
    for result, path in zip(results, paths, strict=True):
        assert not isinstance(result, VideoError), result
        (tokens,), frames = read_clip(path, VIEW)
        assert np.array_equal(result.pixels, [tokens]), path
        assert np.array_equal(result.stored, [tokens])
        assert result.digests == (digest(tokens),)
        assert np.array_equal(result.frames, frames)


def jobs(paths: list[Path]) -> Iterator[Job]:
    return (Job(path) for path in paths)


def workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def kill_workers() -> None:
    """Kills all decoding workers, and waits until they are gone."""
    killed = workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    while not set(killed).isdisjoint(workers()):
        time.sleep(0.01)


def test_clips_come_in_order(paths: list[Path]) -> None:
    assert_decoded(list(decode_all(jobs(paths), VIEW, Decoders(2))), paths)
    assert list(decode_all([], VIEW, Decoders(1))) == []


@pytest.mark.parametrize("pixels", ["raw", "jpeg", "none"])
@pytest.mark.parametrize("keep_pixels", [True, False])
def test_what_is_stored_and_what_a_teacher_sees_fit_together(
    paths: list[Path], pixels: PixelFormat, keep_pixels: bool
) -> None:
    view = View(frames=4, size=16, patch=8, views=3)
    cuts = cuts_of(view, "a clip", "a label", "train")
    wanted = [Job(paths[0], cuts), Job(paths[1], (CENTRE,))]
    results = list(decode_all(wanted, view, Decoders(1), pixels=pixels, keep_pixels=keep_pixels))
    for job, result in zip(wanted, results, strict=True):
        assert not isinstance(result, VideoError), result
        tokens, frames = read_clip(job.path, view, job.cuts)
        assert np.array_equal(result.frames, frames)
        assert len(result.digests) == len(job.cuts)
        assert len(result.stored) == (0 if pixels == "none" else len(job.cuts))
        assert len(result.pixels) == (len(job.cuts) if keep_pixels else 0)
        kept = result.stored or tuple(tokens)
        assert result.digests == tuple(map(digest, kept))
        readable = [decode_jpeg(data, view) if pixels == "jpeg" else data for data in kept]
        for clip, original in zip(readable, tokens, strict=True):
            assert np.abs(clip.astype(int) - original).mean() < (5 if pixels == "jpeg" else 1e-9)
        if keep_pixels:  # the teacher looks at what the student will see
            assert np.array_equal(result.pixels, readable)


def test_jobs_are_asked_for_only_as_they_are_needed(paths: list[Path]) -> None:
    asked = 0

    def count() -> Iterator[Job]:
        nonlocal asked
        for job in jobs(paths):
            asked += 1
            yield job

    decoding = decode_all(count(), VIEW, Decoders(1))
    for taken in range(1, 6):
        next(decoding)
        assert asked == taken + AHEAD - 1
    decoding.close()


def test_an_error_stands_in_the_place_of_its_clip(paths: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.webm"
    cut.write_bytes(paths[0].read_bytes()[:500])
    mixed = [*paths[:3], cut, paths[3], tmp_path / "nothing.webm", cut, *paths[4:8]]
    results = list(decode_all(jobs(mixed), VIEW, Decoders(2)))
    broken = [number for number, result in enumerate(results) if isinstance(result, VideoError)]
    assert broken == [3, 5, 6]
    for number in broken:
        assert str(results[number]).startswith(str(mixed[number]))
        assert "\n" not in str(results[number])
    assert_decoded([result for number, result in enumerate(results) if number not in broken], paths[:8])


@pytest.mark.parametrize("taken", [1, AHEAD, 19])
def test_a_worker_that_is_killed_costs_no_clip(paths: list[Path], taken: int) -> None:
    decoding = decode_all(jobs(paths), VIEW, Decoders(1))
    results = list(islice(decoding, taken))
    kill_workers()
    results.extend(decoding)
    assert_decoded(results, paths)
    assert workers() == []


def test_workers_that_are_killed_again_and_again_cost_no_clip(paths: list[Path]) -> None:
    results = []
    for number, result in enumerate(decode_all(jobs(paths), VIEW, Decoders(2))):
        results.append(result)
        if number in (0, 1, 15):
            kill_workers()
    assert_decoded(results, paths)


def test_decoding_that_is_given_up_leaves_no_process(paths: list[Path]) -> None:
    decoding = decode_all(jobs(paths), VIEW, Decoders(1))
    next(decoding)
    assert workers()
    decoding.close()
    assert workers() == []

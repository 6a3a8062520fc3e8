"""Signs of life: given while something goes on, at most once a second, and by what takes long."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainable.trials import make_run, make_trial
from trainable import heartbeat
from trainable.data.store.clip_store import ClipStore
from trainable.trial_process import TrialProcess


@pytest.fixture
def signs(tmp_path: Path) -> Iterator[Path]:
    """A file of which it is known who lives there."""
    heartbeat.begin(tmp_path / "signs.json")
    yield tmp_path / "signs.json"
    heartbeat.end()


def test_it_says_who_lives_there(signs: Path) -> None:
    assert json.loads(signs.read_text())["pid"] == os.getpid()


def test_it_touches_the_file_at_most_once_a_second(signs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.monotonic()]
    touched: list[float] = []
    monkeypatch.setattr("trainable.heartbeat.time.monotonic", lambda: now[0])
    monkeypatch.setattr("trainable.heartbeat.os.utime", lambda _: touched.append(now[0]))
    for _ in range(40):
        now[0] += 0.25
        heartbeat.beat()
    assert 8 <= len(touched) <= 10


def test_a_file_that_is_gone_ends_nothing(signs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "_next", 0.0)
    signs.unlink()
    heartbeat.beat()


def test_without_a_file_there_are_no_signs() -> None:
    heartbeat.end()
    heartbeat.beat()


def test_steps_evaluation_and_probes_give_signs(
    tmp_path: Path, store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[str] = []
    monkeypatch.setattr(heartbeat, "beat", lambda: beats.append("beat"))
    process = TrialProcess(make_run(tmp_path, store))
    process.next_report(make_trial())
    steps = len(beats)
    assert steps > 2  # two steps, and the batches that it is judged on
    beats.clear()
    process.next_report(make_trial(known=0.5))  # a probe point
    assert len(beats) > 20  # the folds of the probes, of the baselines too
    process.close()

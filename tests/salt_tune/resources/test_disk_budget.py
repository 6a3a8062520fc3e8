"""A search uses no more of the disk than it says beforehand, and says so before it begins."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.resources import disk_budget
from salt_tune.resources.disk_budget import DiskBound, check_disk, disk_bound, folder_bytes, keep_for_limit, most_paused
from salt_tune.schedulers.asha import Asha
from salt_tune.space.objective import Objective
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.driving import prune_all
from trainable.errors import UserError
from trainable.evaluate.answers import Answers, write_answers
from trainable.task import Size
from trainable.train.training import WINDOWS_PER_EPOCH
from trainable.trial.step_file import SCHEMA

CLIPS = [f"clip-{number:06d}" for number in range(100)]
SIZES = [Size(10_000_000), Size(50_000_000)]


def space_of(trials: int = 24, **schedule: Any) -> SearchSpace:
    """A space with a schedule, and two architectures."""
    parameters = {
        "lr": {"type": "uniform", "low": 1e-4, "high": 1e-3},
        "predictor_depth": {"type": "int", "low": 1, "high": 9},
        "predictor_dim": {"type": "choice", "values": [64, 128]},
    }
    return SearchSpace.model_validate({"name": "s", "trials": trials, "schedule": schedule, "parameters": parameters})


@given(
    trials=st.integers(1, 60),
    concurrent=st.integers(1, 9),
    rungs=st.integers(1, 5),
    eta=st.sampled_from([2.0, 2.5, 3.0, 4.0]),
    lost=st.sampled_from([0.0, 0.3, 1.0]),
    order=st.sampled_from(["random", "falling", "rising", "equal"]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=150)
def test_asha_never_holds_more_than_the_bound(
    trials: int, concurrent: int, rungs: int, eta: float, lost: float, order: str, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311
    points = [float(level + 1) for level in range(rungs)]
    space = space_of(trials, scheduler="asha", epochs=rungs, rungs=points, reduction_factor=eta)
    bound = most_paused(space, trials)
    asha, paused, count = Asha(points, trials, reduction_factor=eta), set[str](), 0
    running: dict[str, float] = {}
    while running or asha.next_job() is not None:
        while len(running) < concurrent and (job := asha.next_job()) is not None:
            trial, count = (f"T{count}", count + 1) if job.trial is None else (job.trial, count)
            asha.on_job(trial, job.milestone)
            running[trial] = job.milestone
            paused.discard(trial)
        trial = draw.choice(sorted(running))
        to = running.pop(trial)
        if draw.random() < lost:
            if draw.random() < 0.5:
                asha.on_trial_end(trial)
            else:
                asha.on_trial_result(trial, to, math.inf)
        else:
            score = {"random": draw.random(), "falling": -count, "rising": count, "equal": 0.0}[order]
            asha.on_trial_result(trial, to, score)
            paused |= {trial} if to < points[-1] else set()
        paused -= set(prune_all(asha))
        assert len(paused) <= bound <= trials
        assert len(paused) + len(running) <= trials


@pytest.mark.parametrize(
    ("schedule", "keep", "paused"),
    [
        ({"scheduler": "asha", "epochs": 3, "first_rung": 1}, None, 24),
        ({"scheduler": "asha", "epochs": 9, "first_rung": 1}, None, 24),
        ({"scheduler": "asha", "epochs": 1, "first_rung": 1}, None, 0),
        ({"scheduler": "freeze_thaw"}, None, 24),
        ({"scheduler": "freeze_thaw"}, 5, 5),
        ({"scheduler": "freeze_thaw"}, 50, 24),
        ({"scheduler": "hyperband"}, None, 24),
        ({"scheduler": "none"}, None, 0),
        ({"scheduler": "median"}, None, 0),
        ({"scheduler": "asha_stop"}, 5, 0),
    ],
)
def test_who_is_paused(schedule: dict[str, Any], keep: int | None, paused: int) -> None:
    assert most_paused(space_of(**schedule), 24, keep) == paused


def test_the_bound_adds_up() -> None:
    space = space_of(scheduler="asha", epochs=3, first_rung=1, reports=12)
    bound = disk_bound(space, SIZES, CLIPS, judged=100, concurrent=2, trials=24)
    assert bound.checkpoints == 24
    assert 0 <= bound.checkpoint_bytes - 50_000_000 < 4096
    assert bound.parts["checkpoints"] == 24 * bound.checkpoint_bytes
    assert bound.parts["checkpoints being written"] == 2 * bound.checkpoint_bytes
    assert bound.bytes_total == sum(bound.parts.values())
    alone = disk_bound(space, SIZES, CLIPS, judged=100, concurrent=4, trials=1)
    assert (alone.checkpoints, alone.parts["checkpoints being written"]) == (1, alone.checkpoint_bytes)
    most = disk_bound(space, SIZES, CLIPS, judged=100, concurrent=2, trials=40, keep=None, best=5)
    few = disk_bound(space_of(40, scheduler="none"), SIZES, CLIPS, judged=100, concurrent=2, trials=40, best=5)
    assert (most.checkpoints, few.checkpoints, few.unpaused) == (40, 7, 7)
    again = disk_bound(space, SIZES, CLIPS, judged=100, concurrent=2, trials=24, replicates=6)
    assert again.checkpoints == 24 + 3 and again.parts["clip losses"] > bound.parts["clip losses"]


@given(clips=st.integers(2, 5000), width=st.integers(1, 60), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_clip_losses_take_no_more_than_allowed_for(
    tmp_path_factory: pytest.TempPathFactory, clips: int, width: int, seed: int
) -> None:
    draw, path = random.Random(seed), tmp_path_factory.getbasetemp() / "losses.parquet"  # noqa: S311
    names = ["".join(draw.choices("0123456789abcdef", k=width)) for _ in range(clips)]
    losses = pa.array([draw.random() for _ in names], pa.float32())
    slots = pa.array([[draw.random() for _ in range(16)] for _ in names], pa.list_(pa.float32()))
    pq.write_table(pa.table({"clip": names, "loss": losses, "time_slot_losses": slots}), path, use_dictionary=["label"])
    assert path.stat().st_size <= clips * (width + disk_budget.CLIP_LOSS) + disk_budget.PARQUET


def test_steps_take_no_more_than_allowed_for(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = 10 * WINDOWS_PER_EPOCH
    noise = {name: random.random(rows) for name in SCHEMA.names if name not in ("step", "steps")}
    table = pa.table({"step": range(rows), "steps": [27] * rows, **noise}).select(SCHEMA.names).cast(SCHEMA)
    pq.write_table(table, tmp_path / "steps.parquet")
    assert (tmp_path / "steps.parquet").stat().st_size <= disk_budget.STEPS


@pytest.mark.parametrize(("clips", "classes", "repeats"), [(4, 2, 1), (100, 100, 2), (1024, 174, 5)])
@pytest.mark.parametrize("width", [1, 60])
def test_answers_of_probes_take_no_more_than_allowed_for(
    tmp_path: Path, clips: int, classes: int, repeats: int, width: int
) -> None:
    """As many as there can be: two metrics with labels, and without them two that ask twice and one that asks once."""
    random = np.random.default_rng(0)
    names = [f"{number:0{width}d}"[-width:] if width > 4 else str(number) for number in range(clips)]

    def answers(asked: Any, choices: int) -> Answers:
        count = repeats * len(asked)
        labels, predicted = (random.integers(0, choices, count) for _ in range(2))
        folds = random.integers(0, 5, count)
        return Answers(np.tile(asked, repeats), labels, np.repeat(np.arange(repeats), len(asked)), folds, predicted)

    every, half = np.arange(clips), np.arange(clips // 2)
    metrics = {"probe_top1": answers(every, classes), "knn_top1": answers(every, classes)}
    metrics |= {name: answers(np.tile(half, 2), 2) for name in ("order_top1", "speed_top1")}
    write_answers(tmp_path / "answers", {**metrics, "retrieval_top1": answers(half, clips)}, names)
    allowed = clips * (max(map(len, names)) + disk_budget.ANSWERS * repeats) + 2 * disk_budget.PARQUET
    assert (tmp_path / "answers").stat().st_size <= allowed


def test_a_search_that_probes_at_every_rung_may_keep_more_answers() -> None:
    space = space_of(scheduler="freeze_thaw", epochs=3, reports=6)
    each = space.model_copy(update={"objective": Objective.parse("probe_top1")})
    sizes = [
        disk_bound(one, SIZES, CLIPS, judged=100, concurrent=1, trials=24).parts["answers of probes"]
        for one in (space, each)
    ]
    assert 0 < sizes[0] < sizes[1] < 3 * sizes[0]


@given(limit=st.floats(0, 3e9), keep=st.integers(0, 24), concurrent=st.integers(1, 8))
@settings(deadline=None)
def test_keeping_fewer_fits(limit: float, keep: int, concurrent: int) -> None:
    space = space_of(scheduler="freeze_thaw")

    def bound(keep: int) -> DiskBound:
        return disk_bound(space, SIZES, CLIPS, judged=100, concurrent=concurrent, trials=24, keep=keep)

    fits = keep_for_limit(bound(keep), limit)
    if fits >= 0:
        assert bound(fits).bytes_total <= limit
    if fits + concurrent + 1 < 24:
        assert bound(max(0, fits + 1)).bytes_total > limit or fits < -1


def make_bound(gigabytes: float, **changes: Any) -> DiskBound:
    """A bound of 11 checkpoints: of 8 paused trials, 2 running ones, and the best."""
    size = int(gigabytes * 1e9) // 11
    return DiskBound(**{"checkpoints": 11, "checkpoint_bytes": size, "parts": {"checkpoints": 11 * size, "reports": 0},
                        "unpaused": 3, "keeps": True, **changes})  # fmt: skip


def test_what_a_search_may_use_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_disk(tmp_path / "runs" / "x", make_bound(0.011), limit_gb=1)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    for words in ("may use up to 11 MB", "runs/x", "11 checkpoints of 1 MB", "reports 0 B", "are free"):
        assert words in said


@pytest.mark.parametrize(
    ("bound", "limit", "words"),
    [
        (make_bound(1e6), None, ["runs/x: the search may use up to 1,000 TB", "are free", "smaller models"]),
        (make_bound(11), 9.5, ["--disk-limit = 9.5 GB", "up to 11 GB", "11 checkpoints of 1 GB",
                               "fits with --keep-checkpoints 6"]),
        (make_bound(11, keeps=False), 9.5, ["--disk-limit = 9.5 GB", "fewer --trials"]),
        (make_bound(11), 2, ["--disk-limit = 2 GB", "fewer --trials"]),
    ],
)  # fmt: skip
def test_too_small_a_disk_is_refused(tmp_path: Path, bound: DiskBound, limit: float | None, words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        check_disk(tmp_path / "runs" / "x", bound, limit)
    assert all(word in str(refusal.value) for word in words), refusal.value
    assert "\n" not in str(refusal.value)


def test_what_a_run_has_already_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint").write_bytes(bytes(8_000_000))
    assert folder_bytes(run) >= 8_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4_000_000}))
    check_disk(run, make_bound(0.011))
    with pytest.raises(UserError, match=r"[34](\.\d+)? MB more"):
        check_disk(run, make_bound(0.0125))
    assert "are free" in capsys.readouterr().out

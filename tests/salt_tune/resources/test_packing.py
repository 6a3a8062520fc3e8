"""How many trials share a machine: what follows from the measurements, and the measurements."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salt_tune.resources import colocation, packing
from salt_tune.resources.colocation import OutOfMemory, Pace, TooSlow, available_ram, run_side_by_side
from salt_tune.resources.packing import Packing, best_count, by_demand, measure_packing
from tests.trainable.small import JUDGED, SMALL, probe_task
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.model.flops import measure_model

AS_MANY = {n: f"together train {n / 100:.2f}x as many clips a second as 1" for n in (135, 400, 500)}


def best(speedups: dict[int, float], limit: int = 99, fitting: int = 99) -> tuple[int, str]:
    def measure(count: int) -> float:
        if count not in speedups:
            raise OutOfMemory
        return speedups[count]

    def refuse(count: int) -> str | None:
        return f"{count} do not fit" if count > fitting else None

    return best_count(measure, refuse, limit, "there are 4 cores")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (best({2: 0.97}), (1, "one at a time: two together train 0.97x as fast as one")),
        (best({2: 1.35, 3: 1.377}), (2, f"2 at a time: 2 {AS_MANY[135]}; 3 add 2% only")),
        (best({2: 1.35, 3: 1.1}), (2, f"2 at a time: 2 {AS_MANY[135]}; 3 are no faster")),
        (best({}), (1, "one at a time: two run out of memory")),
        (best({}, fitting=1), (1, "one at a time: 2 do not fit")),
        (best({}, limit=1), (1, "one at a time: there are 4 cores")),
        (best({2: 2, 3: 3, 4: 4}, limit=4), (4, f"4 at a time: 4 {AS_MANY[400]}; there are 4 cores")),
        (best({2: 2, 3: 3, 4: 4, 5: 5}, fitting=5), (5, f"5 at a time: 5 {AS_MANY[500]}; 6 do not fit")),
    ],
)  # fmt: skip
def test_the_smallest_number_that_nothing_beats(found: tuple[int, str], expected: tuple[int, str]) -> None:
    assert found == expected


@given(knee=st.integers(1, 40), limit=st.integers(1, 40))
def test_it_stops_at_the_knee(knee: int, limit: int) -> None:
    tried: list[int] = []

    def measure(count: int) -> float:
        tried.append(count)
        return min(count, knee)

    found, _ = best_count(measure, lambda _: None, limit, "")
    assert found <= limit and tried == sorted(set(tried)) and len(tried) <= 12
    assert min(knee, limit) / 1.05 <= min(found, knee) <= found <= max(1.5 * knee, 1)


def test_too_slow_to_measure() -> None:
    def measure(_: int) -> float:
        raise TooSlow

    assert best_count(measure, lambda _: None, 4, "") == (1, "one at a time: two were not measured within 150 s")


def test_the_demanding_come_first_and_each_step_once(store: ClipStore) -> None:
    changes: list[dict[str, Any]] = [
        {"lr": 1e-4},
        {"lr": 2e-4},
        {"predictor_depth": 2},
        {"batch_size": 16},
        {"student_dim": 256, "batch_size": 1},
    ]
    configs = [SMALL.replace(**change) for change in changes]
    sizes = [measure_model(config, store.view, store.teacher.dim) for config in configs]
    order = by_demand([config.to_dict() for config in configs], sizes)
    assert [values["batch_size"] for values in order[:2]] == [16, 1]
    assert len(order) == 4


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What trainings on a pretended machine do: seconds a step shared perfectly, and memory by their batch size."""
    machine: dict[str, Any] = {"gpu": 80e9, "each": 30e9, "tasks": [], "too_large": 99}

    def run(tasks: list[dict[str, Any]]) -> list[Pace]:
        machine["tasks"].append(tasks)
        if any(task["hyperparameters"]["batch_size"] > machine["too_large"] for task in tasks):
            raise OutOfMemory
        used = int(len(tasks) * machine["each"])
        return [Pace(100.0, 10**9, used, 5 * 10**8, int(machine["gpu"])) for _ in tasks]

    monkeypatch.setattr(packing, "run_side_by_side", run)
    monkeypatch.setattr(packing, "available_ram", lambda: 100e9)
    return machine


def measured(store: ClipStore, batches: list[int], **options: int) -> Packing:
    configs = [SMALL.replace(batch_size=batch) for batch in batches]
    sizes = [measure_model(config, store.view, store.teacher.dim) for config in configs]
    values = [config.to_dict() for config in configs]
    return measure_packing(
        values, sizes, store.path, evaluation=JUDGED, **{"cores": 16, "gpus": 1, "most": 24, **options}
    )


def test_a_gpu_is_filled_as_far_as_memory_goes(store: ClipStore, paces: dict[str, Any]) -> None:
    found = measured(store, [8, 4])
    assert (found.concurrent, found.cpus, found.gpus) == (2, 8, 0.5)
    assert found.why.endswith("three do not fit in 80 GB (one takes 30 GB)")
    assert [(row.together, row.speedup, row.clips_per_second, row.memory_gb, row.threads) for row in found.rows] == [
        (1, 1.0, 100.0, 30.0, 16), (2, 2.0, 200.0, 30.0, 8)]  # fmt: skip
    assert [task["threads"] for task in paces["tasks"][-1]] == [8, 8]
    assert {task["device"] for tasks in paces["tasks"] for task in tasks} == {"cuda"}


def test_several_gpus_take_as_many_each(store: ClipStore, paces: dict[str, Any]) -> None:
    found = measured(store, [8], gpus=4)
    assert (found.concurrent, found.cpus, found.gpus) == (8, 2, 0.5)
    assert found.why.endswith("on each of 4 GPUs")
    assert {task["cores"] for tasks in paces["tasks"] for task in tasks} == {4}
    assert measured(store, [8], gpus=4, most=6).concurrent == 6


def test_a_configuration_too_large_for_one_is_left_out(store: ClipStore, paces: dict[str, Any]) -> None:
    paces["too_large"] = 10
    found = measured(store, [16, 8, 4])
    assert found.concurrent == 2
    assert found.why.endswith("; 1 of 3 configurations ran out of memory alone")
    paces["too_large"] = 1
    assert measured(store, [16, 8, 4]).why == "one at a time; 3 of 3 configurations ran out of memory alone"


def test_memory_of_the_machine_counts_too(
    store: ClipStore, paces: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "available_ram", lambda: 3.5e9)
    found = measured(store, [8], gpus=0)
    assert (found.concurrent, found.gpus, found.cpus) == (3, 0.0, 5)
    assert found.why.endswith("4 do not fit in 3.5 GB of free memory (one takes 1 GB)")


@pytest.mark.parametrize(("cores", "gpus", "most"), [(1, 0, 9), (8, 0, 1), (8, 8, 20), (8, 2, 2)])
def test_nothing_is_measured_where_nothing_can_be_chosen(
    store: ClipStore, paces: dict[str, Any], cores: int, gpus: int, most: int
) -> None:
    found = measured(store, [8], cores=cores, gpus=gpus, most=most)
    assert (found.concurrent, found.rows, paces["tasks"]) == (min(most, max(1, gpus)), (), [])
    assert found.why.startswith("one at a time: there are") or found.why.startswith("one at a time: there is")


@pytest.mark.slow  # the rest of this file measures made-up ones
def test_real_trainings_run_side_by_side(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colocation, "WINDOW", 0.5)
    small, large = run_side_by_side(
        [probe_task(store.path), {**probe_task(store.path, predictor_depth=24), "evaluation": JUDGED}]
    )
    assert small.clips_per_second > large.clips_per_second > 0
    assert 5e7 < small.ram < 3e9 and small.total == 0


def test_what_cannot_be_trained_is_said(store: ClipStore) -> None:
    with pytest.raises(UserError, match="batch_size = 64: must not exceed the 32 training clips"):
        run_side_by_side([probe_task(store.path, batch_size=64)])


def test_a_killed_training_ran_out_of_memory(store: ClipStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kills_itself = tmp_path / "python"
    kills_itself.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    kills_itself.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(kills_itself))
    with pytest.raises(OutOfMemory):
        run_side_by_side([probe_task(store.path)])


def test_patience_ends(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colocation, "PATIENCE", 0.01)
    with pytest.raises(TooSlow):
        run_side_by_side([probe_task(store.path)])


def test_this_machine_has_memory() -> None:
    assert available_ram() > 1e8


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_is_shared(store: ClipStore) -> None:
    found = measured(store, [8, 4], cores=4, most=2)
    assert [row.together for row in found.rows] == [1, 2]
    assert all(0.2 < row.memory_gb < 5 for row in found.rows)  # most of it the context
    assert found.rows[0].memory_gb == pytest.approx(found.rows[1].memory_gb, rel=0.5)

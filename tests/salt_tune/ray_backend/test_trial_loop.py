"""The loop of a search on workers within this process: what it does with reports, errors, deaths and a full disk."""

import errno
import itertools
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.lines import read_lines
from salt_tune.controller.limits import NO_LIMITS, Limits
from salt_tune.controller.settings import Settings
from salt_tune.ray_backend.trial_loop import LOOKS_UP, MOST_RESTARTS, SILENT_STEPS, TrialLoop
from salt_tune.ray_backend.worker_pool import Lost
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.controlled import World
from tests.salt_tune.controller.test_controller import Heard
from tests.toy_task import SPACE, TOY, report_of
from trainable.budget import Budget
from trainable.errors import UserError
from trainable.heartbeat import SILENT_SECONDS
from trainable.trial_process import TrialProcess
from trainable.worker import Report, RunSpec, TrialSpec


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Workers:
    """A pool whose workers are in this process, and train when they are waited for, first come first served."""

    def __init__(self, folder: Path, space: SearchSpace, size: int) -> None:
        schedule = space.schedule
        run = RunSpec(
            task=TOY,
            data=str(folder),
            evaluation=space.evaluation,
            budget=Budget("epoch", schedule.full, [*schedule.report_points()], [*space.probe_points()]),
            checkpoints=str(folder / "checkpoints"),
            clip_losses=str(folder / "clip_losses/{trial}/{resource}.parquet"),
            threads=1,
            device="cpu",
        )
        self._slots = [TrialProcess(run) for _ in range(size)]
        self._jobs: list[tuple[int, TrialSpec]] = []
        self.most = 0  # trials that it had at once
        self.patience: list[float] = []
        self.memory = False  # whether deaths are for memory
        self.deaths: dict[str, int] = {}  # of a trial's process, still to come
        self.error: Exception | None = None  # that the next job meets

    @property
    def free(self) -> int:
        """See `WorkerPool`."""
        return len(self._slots) - len(self._jobs)

    @property
    def busy(self) -> int:
        """See `WorkerPool`."""
        return len(self._jobs)

    def submit(self, trial: TrialSpec, patience: float) -> None:
        """See `WorkerPool`."""
        self.patience.append(patience)
        slot = min({*range(len(self._slots))} - {slot for slot, _ in self._jobs})
        assert trial.id not in {job.id for _, job in self._jobs}
        self._jobs.append((slot, trial))
        self.most = max(self.most, len(self._jobs))

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, int, Report | Lost]]:
        """See `WorkerPool`."""
        assert seconds <= LOOKS_UP
        slot, trial = self._jobs.pop(0)
        yield trial, slot, self._train(slot, trial)

    def _train(self, slot: int, trial: TrialSpec) -> Report | Lost:
        if self.deaths.get(trial.id, 0):
            self.deaths[trial.id] -= 1
            return Lost("its process died", memory=self.memory)
        try:
            if self.error is not None:
                raise self.error
            return self._slots[slot].next_report(trial)
        except Exception as error:
            return Lost(str(error), "".join(traceback.format_exception(error)))


class Search:
    """A search of the toy task in a folder, its loop, and what its callbacks heard."""

    def __init__(
        self, folder: Path, workers: int = 2, oom_retries: int = 0, limits: Limits = NO_LIMITS, **space: Any
    ) -> None:
        self.space = SearchSpace.model_validate({**SPACE, **space})
        self.heard = Heard()
        world = World(self.space, Settings(oom_retries=oom_retries))
        self.controller = world.controller(folder, callbacks=[self.heard])
        self.workers = Workers(folder, self.space, workers)
        self.loop = TrialLoop(self.controller, self.workers, limits)

    def reports(self) -> list[dict[str, Any]]:
        """All reports."""
        return [*read_lines(self.controller.run.reports)]

    def states(self) -> list[str]:
        """Of the trials."""
        return [str(trial.state) for trial in self.controller.trials.values()]


def full_length(*fates: str, at: float = 0.0) -> dict[str, Any]:
    """Entries of a space with a trial of each fate and no pruning."""
    points = [{"lr": (1 + number) * 1e-3, "fate": fate, "at": at} for number, fate in enumerate(fates)]
    schedule = {"scheduler": "none", "epochs": 1, "reports": 4}
    return {"parameters": {}, "start_from": points, "trials": len(fates), "schedule": schedule}


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_worker_is_kept_at_a_trial_and_each_point_is_trained_once(tmp_path: Path, workers: int) -> None:
    search = Search(tmp_path, workers)
    search.loop.run()
    assert search.controller.over and {"complete"} < {*search.states()} <= {"complete", "pruned", "paused"}
    assert search.workers.most == min(workers, 6)
    trained = [(report["trial"], report["resource"]) for report in search.reports()]
    assert len(set(trained)) == len(trained)
    assert {report["slot"] for report in search.reports()} == {*range(min(workers, 6))}


def test_a_trial_pauses_before_another_starts_on_its_worker(tmp_path: Path) -> None:
    search = Search(tmp_path, 1, schedule={"scheduler": "asha", "epochs": 3, "first_rung": 1, "reports": 3})
    search.loop.run()
    told = [(kind, trial) for kind, trial, _ in search.heard.heard]
    pauses = [number for number, (kind, _) in enumerate(told) if kind == "pause"]
    assert pauses
    for number in pauses:
        before = [each for each in told[:number] if each[0] in ("start", "report")]
        assert before[-1] == ("report", told[number][1])
        assert told[number + 1][0] in ("start", "search") and told[number + 1][1] != told[number][1]


def test_an_error_is_tried_again_and_then_the_trial_has_failed(tmp_path: Path) -> None:
    search = Search(tmp_path, **full_length("crash", "", at=0.5))
    search.loop.run()
    assert search.states() == ["failed", "complete"]
    restarts = [(trial, why) for kind, trial, why in search.heard.heard if kind == "restart"]
    why = "it crashed (traceback: errors/T0.txt)"
    assert restarts == [("T0", why)] * MOST_RESTARTS
    assert search.controller.trials["T0"].error == why
    text = (tmp_path / "errors" / "T0.txt").read_text(encoding="utf-8")
    assert text.startswith("Traceback ") and text.endswith("RuntimeError: it crashed\n")
    assert [report["resource"] for report in search.reports() if report["trial"] == "T0"] == [0.25]


@pytest.mark.parametrize("deaths", [1, MOST_RESTARTS, MOST_RESTARTS + 1])
def test_a_trial_whose_process_dies_goes_on(tmp_path: Path, deaths: int) -> None:
    search = Search(tmp_path, **full_length("", ""))
    search.workers.deaths["T1"] = deaths
    search.loop.run()
    survives = deaths <= MOST_RESTARTS
    assert search.states() == ["complete", "complete" if survives else "failed"]
    assert search.controller.trials["T1"].error == (None if survives else "its process died")
    assert sum(kind == "restart" for kind, _, _ in search.heard.heard) == min(deaths, MOST_RESTARTS)
    assert not (tmp_path / "errors").exists()


def test_a_death_for_memory_says_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.toy_task.report_of", lambda *given: {**report_of(*given), "peak_rss_gb": 3.25})
    search = Search(tmp_path, **full_length("", ""))
    search.workers.memory = True
    search.workers.deaths["T1"] = 1  # before it has reported
    heard = search.heard.on_trial_result

    def die_after_the_first(trial: Any, report: Any) -> None:
        heard(trial, report)
        search.workers.deaths[trial.id] = int(len(trial.scores) == 1)

    search.heard.on_trial_result = die_after_the_first  # type: ignore[method-assign]
    search.loop.run()
    told = [(trial, why) for kind, trial, why in search.heard.heard if kind == "restart"]
    used = "its process died; it had used 3.2 GB"
    assert sorted(told) == [("T0", used), ("T1", "its process died"), ("T1", used)]


def test_patience_follows_from_the_trials_own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(tmp_path, 1, **full_length(""))
    monkeypatch.setattr("tests.toy_task.report_of", lambda *given: {**report_of(*given), "step_seconds": 60.0})
    search.loop.run()
    assert search.workers.patience == [SILENT_SECONDS, *[SILENT_STEPS * 60.0] * 3]


@pytest.mark.parametrize(("budget", "report"), [("2.5epochs", 0.5), ("40tflop", 5.0), ("20s", 2.0)])
def test_a_budget_ends_it_with_what_is_under_way(tmp_path: Path, budget: str, report: float) -> None:
    """A report of the toy is half an epoch, of 4 seconds and 10 TFLOP each."""
    limits = Limits.parse(None, budget)
    schedule = {"scheduler": "none", "epochs": 3, "reports": 6}
    search = Search(tmp_path, 2, limits=limits, schedule=schedule)
    search.loop.run()
    assert search.loop.limited == f"--budget {budget}" and limits.trained is not None
    trained = sum(trial.value(limits.field) or 0 for trial in search.controller.trials.values())
    assert limits.trained <= trained + 1e-9 <= limits.trained + 2 * report + 1e-6
    assert not search.controller.over and not search.workers.busy
    again = Search(tmp_path, 2, schedule=schedule)
    again.loop.run()
    assert again.controller.over and set(again.states()) == {"complete"}


def test_a_time_limit_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search, clock = Search(tmp_path, 2, limits=Limits.parse("3s", None)), itertools.count(0.0, 0.5)
    monkeypatch.setattr("salt_tune.ray_backend.trial_loop.time.monotonic", lambda: next(clock))
    search.loop.run()
    assert search.loop.limited == "--time-limit 3s"
    assert search.reports() and not search.controller.over


@pytest.mark.parametrize("retries", [0, 2])
def test_a_trial_that_ran_out_of_memory_is_tried_as_often_as_asked(tmp_path: Path, retries: int) -> None:
    search = Search(tmp_path, oom_retries=retries, **full_length("out_of_memory", ""))
    search.loop.run()
    assert search.states() == ["out_of_memory", "complete"]
    lost = [report for report in search.reports() if report["status"] == "out_of_memory"]
    assert len(lost) == 1 + retries


def test_what_the_user_could_put_right_is_not_tried_again(tmp_path: Path) -> None:
    search = Search(tmp_path, **full_length("failed", ""))
    search.loop.run()
    assert search.states() == ["failed", "complete"]
    assert search.controller.trials["T0"].error == "fate = 'failed': take another one"
    assert not any(kind == "restart" for kind, _, _ in search.heard.heard)


def test_a_full_disk_ends_the_search_and_no_trial(tmp_path: Path) -> None:
    search = Search(tmp_path, **full_length("", ""))
    search.workers.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.safetensors")
    with pytest.raises(UserError, match="No space left on device; free some space, then resume the search"):
        search.loop.run()
    assert search.states() == ["running", "running"]


def test_an_error_of_the_controller_ends_the_search(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.controller.journal.path.mkdir()
    with pytest.raises((OSError, UserError)):
        search.loop.run()


@pytest.mark.parametrize("seconds", [0, 30])
def test_a_search_that_is_drained_goes_on_later_as_if_nothing_had_been(tmp_path: Path, seconds: float) -> None:
    whole = Search(tmp_path / "whole", 1)
    whole.loop.run()
    search = Search(tmp_path / "drained", 1)
    heard = search.heard.on_trial_result

    def drain_at_the_third(trial: Any, report: Any) -> None:
        heard(trial, report)
        if len(search.reports()) == 3:
            search.loop.drain(seconds)

    search.heard.on_trial_result = drain_at_the_third  # type: ignore[method-assign]
    search.loop.run()
    assert len(search.reports()) == 3 and search.controller.draining
    again = Search(tmp_path / "drained", 1)
    again.loop.run()
    clock = dict.fromkeys(("time", "began", "submitted"), 0)
    courses = [[{**report, **clock} for report in each.reports()] for each in (again, whole)]
    assert courses[0] == courses[1]

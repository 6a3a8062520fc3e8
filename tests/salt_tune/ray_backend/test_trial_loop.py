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
from salt_tune.ray_backend.nodes import ALONE
from salt_tune.ray_backend.signs_of_life import SILENT_STEPS
from salt_tune.ray_backend.trial_loop import LOOKS_UP, MOST_RESTARTS, TrialLoop
from salt_tune.ray_backend.worker_pool import Lost, Slot
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

    def __init__(self, folder: Path, space: SearchSpace, nodes: dict[str, int]) -> None:
        schedule = space.schedule
        self.run = RunSpec(
            task=TOY,
            data=str(folder),
            evaluation=space.evaluation,
            budget=Budget("epoch", schedule.full, [*schedule.report_points()], [*space.probe_points()]),
            checkpoints=str(folder / "checkpoints"),
            clip_losses=str(folder / "clip_losses/{trial}/{resource}.parquet"),
            threads=1,
            device="cpu",
        )
        places = [node for node, size in nodes.items() for _ in range(size)]
        self._slots = {Slot(number, node): TrialProcess(self.run) for number, node in enumerate(places)}
        self._processes = dict(self._slots)
        self._jobs: list[tuple[Slot, TrialSpec]] = []
        self.dying: set[str] = set()  # nodes that die as soon as something trains there
        self.comes: str | None = None  # a node, as soon as none is left
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

    @property
    def size(self) -> int:
        """See `WorkerPool`."""
        return len(self._slots)

    def has(self, slot: Slot) -> bool:
        """See `WorkerPool`."""
        return slot in self._slots

    def submit(self, trial: TrialSpec, patience: float, avoid: Slot | None = None) -> Slot:
        """See `WorkerPool`."""
        self.patience.append(patience)
        free = {*self._slots} - {slot for slot, _ in self._jobs}
        slot = min(free, key=lambda slot: (avoid is not None and slot.node == avoid.node, slot.number))
        assert trial.id not in {job.id for _, job in self._jobs}
        self._jobs.append((slot, trial))
        self.most = max(self.most, len(self._jobs))
        return slot

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, Slot, Report | Lost]]:
        """See `WorkerPool`."""
        assert seconds <= LOOKS_UP
        if not self._slots and self.comes is not None:
            self._slots[Slot(99, self.comes)] = self._processes[Slot(99, self.comes)] = TrialProcess(self.run)
        if self._jobs:
            slot, trial = self._jobs.pop(0)
            yield trial, slot, self._train(slot, trial)

    def leave_out(self, node: str) -> None:
        """Takes the slots of a node away; what trains there still reports."""
        self._slots = {slot: process for slot, process in self._slots.items() if slot.node != node}

    def _train(self, slot: Slot, trial: TrialSpec) -> Report | Lost:
        if slot.node in self.dying:
            self.leave_out(slot.node)
            return Lost(f"node {slot.node} died", with_node=True)
        if self.deaths.get(trial.id, 0):
            self.deaths[trial.id] -= 1
            return Lost("its process died", memory=self.memory)
        try:
            if self.error is not None:
                raise self.error
            return self._processes[slot].next_report(trial)
        except Exception as error:
            return Lost(str(error), "".join(traceback.format_exception(error)))


class Search:
    """A search of the toy task in a folder, its loop, and what its callbacks heard."""

    def __init__(
        self,
        folder: Path,
        workers: int | dict[str, int] = 2,
        oom_retries: int = 0,
        limits: Limits = NO_LIMITS,
        **space: Any,
    ) -> None:
        self.space = SearchSpace.model_validate({**SPACE, **space})
        self.heard = Heard()
        world = World(self.space, Settings(oom_retries=oom_retries))
        self.controller = world.controller(folder, callbacks=[self.heard])
        self.workers = Workers(folder, self.space, {ALONE: workers} if isinstance(workers, int) else workers)
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


def test_the_trials_of_a_node_that_dies_go_on_at_others(tmp_path: Path) -> None:
    """As often as nodes die: that is no fault of a trial."""
    nodes = dict.fromkeys(("a", "b", "c", "d", "e", "f"), 1)
    search = Search(tmp_path, nodes, **full_length("", ""))
    heard = search.heard.on_trial_result

    def die_after_the_third(trial: Any, report: Any) -> None:
        heard(trial, report)
        if len(search.reports()) == 3:
            search.workers.dying = {*nodes} - {"f"}

    search.heard.on_trial_result = die_after_the_third  # type: ignore[method-assign]
    search.loop.run()
    assert search.states() == ["complete"] * 2
    moves = [why for kind, _, why in search.heard.heard if kind == "restart"]
    assert len(moves) == search.loop.moved == 5 > MOST_RESTARTS
    assert "node b died: moved from node b to node c" in moves
    trained = [(report["trial"], report["resource"]) for report in search.reports()]
    assert len(trained) == len({*trained}) == 8
    assert {report["node"] for report in search.reports()[3:]} == {"f"}


def test_a_trial_of_a_node_that_was_left_out_goes_on_after_its_report(tmp_path: Path) -> None:
    search = Search(tmp_path, {"a": 1, "b": 1}, **full_length("", ""))
    heard = search.heard.on_trial_result

    def leave_out_b(trial: Any, report: Any) -> None:
        heard(trial, report)
        search.workers.leave_out("b")

    search.heard.on_trial_result = leave_out_b  # type: ignore[method-assign]
    search.loop.run()
    assert search.states() == ["complete"] * 2
    moves = [(trial, why) for kind, trial, why in search.heard.heard if kind == "restart"]
    assert moves == [("T1", "node b was left out: moved from node b to node a")]


def test_a_search_without_a_node_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("salt_tune.ray_backend.trial_loop.time.sleep", lambda _: None)
    search = Search(tmp_path, {"a": 1}, **full_length(""))
    search.workers.dying, search.workers.comes = {"a"}, "b"
    search.loop.run()
    assert search.states() == ["complete"] and search.loop.moved == 1
    assert "no node is left: waits 5 minutes for one to come" in capsys.readouterr().out


def test_a_search_without_a_node_ends_where_none_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salt_tune.ray_backend.trial_loop.time.sleep", lambda _: None)
    monkeypatch.setattr("salt_tune.ray_backend.trial_loop.NODE_SECONDS", 0.0)
    search = Search(tmp_path, {"a": 1}, **full_length(""))
    search.workers.dying = {"a"}
    with pytest.raises(UserError, match=r"^no node is left that can train; resume the search$"):
        search.loop.run()
    assert search.states() == ["running"]


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

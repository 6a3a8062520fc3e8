"""A search without Ray: what it decides, what it remembers, and that a search which was killed is the same search."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import RunError
from analysis.run_directory.events import Trials
from analysis.run_directory.lines import read_lines
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.callbacks.base import Report
from salt_tune.controller.checkpoints import GO_ON, delete_checkpoints
from salt_tune.controller.controller import Controller
from salt_tune.controller.decision import Decision
from salt_tune.controller.settings import Settings
from salt_tune.registry import SCHEDULERS
from tests.salt_tune.controlled import World, best, decisions, files, known, winner
from tests.salt_tune.driving import choices
from tests.salt_tune.made_trials import LR, make_report, make_space

DEPTH = {"type": "int", "low": 1, "high": 4}
NATIVE = ("asha_stop", "median", "hyperband")
ASHA = {"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def asha(**entries: Any) -> World:
    settings = entries.pop("settings", Settings())
    faults = {name: entries.pop(name) for name in ("lost", "memory_errors") if name in entries}
    return World(make_space(schedule=ASHA, **{"trials": 6, **entries}), settings, **faults)


def with_schedule(scheduler: str, **entries: Any) -> World:
    rungs = {"rungs": [0.5, 1]} if scheduler != "freeze_thaw" else {"first_rung": 0.5, "rungs": None}
    return (
        asha(**entries)
        if scheduler == "asha"
        else World(make_space(schedule={**ASHA, **rungs, "scheduler": scheduler}, **{"trials": 5, **entries}))
    )


# --- what is decided


def test_a_search_by_asha(tmp_path: Path) -> None:
    world = asha(lost={("T4", 0.5): "diverged"})
    controller = world.run(world.controller(tmp_path))
    order = [(entry["trial"], entry["start"], entry["milestone"]) for entry in decisions(controller, "run")]
    assert order[:3] == [("T0", 0, 0.5), ("T1", 0, 0.5), ("T2", 0, 0.5)]
    assert sum(to == 1 for *_, to in order) == 2 and sum(to == 3 for *_, to in order) == 1
    states = [trial.state for trial in controller.trials.values()]
    assert states.count(TrialState.COMPLETE) == 1 and states.count(TrialState.DIVERGED) == 1
    lowest = min(controller.trials.values(), key=lambda trial: world.loss(trial, 3))
    assert winner(controller) == lowest.id
    assert lowest.state == "complete" and lowest.resource == 3
    assert controller.over and not controller.running


@pytest.mark.parametrize("scheduler", ["asha", "freeze_thaw"])
def test_a_trial_whose_features_collapse_goes_no_further(scheduler: str, tmp_path: Path) -> None:
    straight = with_schedule(scheduler)
    best = winner(straight.run(straight.controller(tmp_path / "straight")))
    assert best is not None
    world = replace(straight, collapsed={best})
    controller = world.run(world.controller(tmp_path / "collapsed"))
    assert winner(controller) not in (best, None)
    first = world.space.schedule.rung_points()[0]
    assert controller.trials[best].resource == first < 3  # with the lowest loss of all
    assert world.controller(tmp_path / "collapsed").over  # read again
    everything = replace(straight, collapsed=all_trials(straight))
    assert winner(everything.run(everything.controller(tmp_path / "all"))) == best


def all_trials(world: World) -> set[str]:
    """The names of all trials of a world."""
    return {f"T{number}" for number in range(world.space.trials or 0)}


class Heard:
    """A callback that remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Any]] = []

    def on_search_start(self, trials: Trials) -> None:
        """See `Callback`."""
        self.heard.append(("search", "start", list(trials)))

    def on_trial_start(self, trial: Trial) -> None:
        """See `Callback`."""
        self.heard.append(("start", trial.id, trial.resource))

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """See `Callback`."""
        self.heard.append(("report", trial.id, report["resource"]))

    def on_trial_pause(self, trial: Trial) -> None:
        """See `Callback`."""
        self.heard.append(("pause", trial.id, trial.resource))

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """See `Callback`."""
        self.heard.append(("restart", trial.id, why))

    def on_trial_end(self, trial: Trial) -> None:
        """See `Callback`."""
        self.heard.append(("end", trial.id, trial.state))

    def on_search_end(self, trials: Trials, *, over: bool) -> None:
        """See `Callback`."""
        self.heard.append(("search", "end", (len(trials), over)))


def test_a_decision_has_what_its_scheduler_expected(tmp_path: Path) -> None:
    world = with_schedule("freeze_thaw", trials=12)
    controller = world.run(world.controller(tmp_path))
    controller.close(1.0, over=True)
    on = [entry for entry in decisions(controller, "run") if entry["start"] > 0]
    stopped = decisions(controller, "drop") + decisions(controller, "left")
    assert on and len(stopped) >= 8
    for entry in on + stopped:
        assert entry["predicted_sd"] > 0 and 0 <= entry["chance"] <= 1
    assert all(f"predicted {entry['predicted']:.4g} +- " in entry["reason"] for entry in on)
    assert all(entry["predicted"] is None for entry in decisions(controller, "run") if entry["start"] == 0)
    ended = {trial.id: trial.score for trial in controller.trials.values() if trial.state == "complete"}
    last = {entry["trial"]: entry for entry in on}
    assert all(abs(last[trial]["predicted"] - score) < 0.1 for trial, score in ended.items())
    assert decisions(controller)[-1]["event"] == "session"
    left = decisions(controller, "left")
    world.controller(tmp_path).close(1.0, over=True)
    assert decisions(controller, "left") == left, "nothing new is known of them"
    assert known(world.controller(tmp_path)) == known(controller)


def test_a_scheduler_that_predicts_nothing_leaves_the_fields_empty(tmp_path: Path) -> None:
    world = asha()
    controller = world.run(world.controller(tmp_path))
    controller.close(1.0, over=True)
    assert not decisions(controller, "left")
    assert {entry["chance"] for entry in decisions(controller, "run") + decisions(controller, "drop")} == {None}


def test_what_is_told_to_callbacks(tmp_path: Path) -> None:
    told, world = Heard(), asha(trials=3, lost={("T1", 0.5): "failed", ("T2", 0.5): "diverged"})
    controller = world.controller(tmp_path, callbacks=[told])
    controller.begin()
    world.run(controller)
    assert told.heard[:9] == [
        ("search", "start", []),
        ("start", "T0", 0), ("report", "T0", 0.5),
        ("start", "T1", 0), ("end", "T1", "failed"),
        ("start", "T2", 0), ("report", "T2", 0.5), ("end", "T2", "diverged"),
        ("start", "T0", 0.5),
    ]  # fmt: skip
    assert told.heard[-1] == ("end", "T0", "complete")


def test_a_pruned_trial_has_ended_and_a_resumed_search_is_told_what_was_known(tmp_path: Path) -> None:
    told, world = Heard(), asha(trials=12)
    controller = world.controller(tmp_path, callbacks=[told])
    world.run(controller)
    ends = [(trial, state) for event, trial, state in told.heard if event == "end"]
    assert sorted(ends) == sorted((trial.id, trial.state) for trial in controller.trials.values() if trial.state.ended)
    assert TrialState.PRUNED in {state for _, state in ends}
    again = Heard()
    world.controller(tmp_path, callbacks=[again]).begin()
    assert again.heard == [("search", "start", list(controller.trials))]


def test_common_and_varied_seeds(tmp_path: Path) -> None:
    for vary, seeds in ((False, [7, 7, 7]), (True, [7, 8, 9])):
        world = asha(trials=3, settings=Settings(seed=7, vary_seeds=vary))
        controller = world.run(world.controller(tmp_path / str(vary)))
        assert [trial.seed for trial in controller.trials.values()] == seeds
        assert [trial.config["seed"] for trial in controller.trials.values()] == seeds


def test_the_end_of_a_finite_space_is_the_end_of_the_search(tmp_path: Path) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=9)
    controller = world.run(world.controller(tmp_path))
    assert sorted(trial.config["predictor_depth"] for trial in controller.trials.values()) == [1, 2, 3, 4]
    assert [trial.state for trial in controller.trials.values()].count(TrialState.COMPLETE) == 1
    assert controller.extend(3) == 0
    assert controller.next() is None and controller.over
    assert world.controller(tmp_path).scheduler.allowed == 4


@pytest.mark.parametrize("searcher", ["random", "grid", "sobol", "tpe"])
def test_trials_without_a_configuration_are_taken_back_before_the_first(tmp_path: Path, searcher: str) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=9, searcher=searcher)
    controller = world.controller(tmp_path)
    assert (controller.limit(), controller.limit()) == (4, 4)
    world.run(controller, reports=2)
    again = world.controller(tmp_path)
    assert (again.limit(), again.begun) == (4, len(controller.trials))
    world.run(again)
    assert sorted(trial.config["predictor_depth"] for trial in again.trials.values()) == [1, 2, 3, 4]
    assert [entry["trials"] for entry in decisions(again, "exhausted")] == [4]
    assert again.searcher.left(1) == 0


def test_no_more_is_added_than_there_is(tmp_path: Path) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=2)
    controller = world.run(world.controller(tmp_path))
    assert controller.limit() == 2
    assert (controller.extend(1), controller.extend(9), controller.extend(9)) == (1, 1, 0)
    world.run(controller)
    assert controller.begun == 4
    endless = asha(trials=2)
    controller = endless.run(endless.controller(tmp_path / "endless"))
    assert controller.extend(10**6) == 10**6


def test_a_configuration_that_does_not_fit_is_a_trial_that_fails(tmp_path: Path) -> None:
    """Its worker would say so; here, as a search that is taken up again meets it in its journal."""
    dims = {"type": "choice", "values": [64, 100]}
    world = asha(parameters={"predictor_dim": dims, "lr": LR}, trials=4, searcher="random")
    controller = world.controller(tmp_path)
    unfit = []
    while (trial := controller.next()) is not None:
        if trial.config["predictor_dim"] == 100:
            unfit.append(trial.id)
            controller.end(trial.id, TrialState.FAILED, "predictor_dim = 100: must be divisible by 64")
        else:
            controller.report(trial.id, world.report(controller, trial) or {})
        controller = world.controller(tmp_path)
    assert unfit and len(unfit) < 4
    assert [trial.id for trial in controller.trials.values() if trial.state == "failed"] == unfit
    assert controller.over and winner(controller) not in unfit


def test_draining_starts_nothing(tmp_path: Path) -> None:
    world = asha()
    controller = world.run(world.controller(tmp_path), reports=2)
    controller.draining = True
    assert controller.next() is None


# --- reports


def test_reports_that_come_twice_change_nothing(tmp_path: Path) -> None:
    world = asha(trials=3)
    controller = world.controller(tmp_path)
    while (trial := controller.next()) is not None:
        while trial.state == "running":
            report = world.report(controller, trial)
            assert report is not None
            decision = controller.report(trial.id, report)
            before = (controller.journal.path.read_bytes(), controller.reports.path.read_bytes(), str(trial))
            assert controller.report(trial.id, report) == decision
            assert (controller.journal.path.read_bytes(), controller.reports.path.read_bytes(), str(trial)) == before
    for trial in controller.trials.values():
        controller.report(trial.id, make_report(0.5, 0.1))
        controller.end(trial.id, TrialState.FAILED if trial.state == "complete" else trial.state)
    assert winner(controller) == min(controller.trials.values(), key=lambda trial: world.loss(trial, 3)).id


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_lost_trials_do_not_go_on(tmp_path: Path, state: str) -> None:
    world = asha(lost={("T0", 0.5): state, ("T2", 1.0): state})
    controller = world.run(world.controller(tmp_path))
    assert controller.trials["T0"].state == state
    assert [entry["milestone"] for entry in decisions(controller, "run") if entry["trial"] == "T0"] == [0.5]
    assert (controller.trials["T0"].error is not None) == (state == "failed")
    assert winner(controller) not in (None, "T0") and controller.over


@pytest.mark.parametrize(("retries", "state"), [(0, "out_of_memory"), (1, "out_of_memory"), (2, "complete")])
def test_out_of_memory_is_tried_again_so_often(tmp_path: Path, retries: int, state: str) -> None:
    world = asha(trials=1, settings=Settings(oom_retries=retries), memory_errors={("T0", 1.5): 2})
    controller = world.run(world.controller(tmp_path))
    trial = controller.trials["T0"]
    assert trial.state == state
    assert [entry["status"] for entry in decisions(controller, "result")].count("out_of_memory") == min(retries + 1, 2)
    assert trial.resource == (3 if state == "complete" else 1)
    assert trial.scores[1] == world.loss(trial, 1)
    assert (winner(controller) is None) == (state != "complete")


def test_what_a_worker_does_after_each_report(tmp_path: Path) -> None:
    world = asha(trials=4, settings=Settings(oom_retries=1))
    controller = world.controller(tmp_path)
    trial = controller.next()
    assert trial is not None
    lost = make_report(0.0, None, status="out_of_memory")
    assert controller.report("T0", lost) is Decision.RESTART
    assert (trial.state, controller.running) == (TrialState.RUNNING, 0)
    assert controller.next() is trial and controller.running == 1
    assert controller.report("T0", make_report(0.5, 0.4)) is Decision.PAUSE
    assert controller.next() is controller.trials["T1"]
    assert controller.report("T1", make_report(0.25, 0.5)) is Decision.CONTINUE
    assert controller.report("T1", make_report(0.5, None, status="diverged")) is Decision.STOP
    assert [entry["retry"] for entry in decisions(controller, "result")] == [True, False, False, False]


def test_out_of_memory_at_once(tmp_path: Path) -> None:
    world = asha(trials=2, memory_errors={("T0", 0.5): 1})
    controller = world.run(world.controller(tmp_path))
    assert (controller.trials["T0"].state, controller.trials["T0"].resource) == ("out_of_memory", 0)
    assert winner(controller) == "T1"


# --- after the search


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_more_trials_after_the_end(tmp_path: Path, scheduler: str) -> None:
    world = with_schedule(scheduler)
    ended = world.run(world.controller(tmp_path))
    ended.close(1.5, over=True)
    count = len(ended.trials)
    controller = world.controller(tmp_path)
    assert controller.over and controller.trials.seconds == 1.5
    controller.extend(4)
    assert not controller.over
    world.run(controller)
    assert len(controller.trials) == count + 4
    again = world.controller(tmp_path)
    assert again.over and known(again) == known(controller)


# --- checkpoints


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_the_end_only_those_that_may_be_tied_have_a_checkpoint(tmp_path: Path, scheduler: str) -> None:
    world = with_schedule(scheduler)
    controller = world.controller(tmp_path)
    stranger = controller.run.checkpoints / "somebody-elses.safetensors"
    stranger.touch()
    world.run(controller)
    assert winner(controller) in best(controller) <= files(controller)
    alive = {trial.id for trial in controller.trials.values() if trial.state in ("running", "paused")}
    assert files(controller) == {"somebody-elses", *best(controller)} | alive
    controller.close(1, over=True)
    assert files(controller) == {"somebody-elses", *best(controller)}
    assert {trial.state.at_exit(True) for trial in controller.trials.values()} <= {"complete", "pruned"}


def test_losers_give_their_checkpoints_up_on_the_way(tmp_path: Path) -> None:
    world = asha(trials=12, lost={("T1", 1.0): "diverged", ("T2", 0.5): "failed", ("T5", 0.5): "diverged"})
    controller = world.controller(tmp_path)
    seen: set[str] = set()
    while not controller.over:
        before = len(decisions(controller))
        world.run(controller, reports=1)
        controller = world.controller(tmp_path)
        assert len(decisions(controller)) >= before
        gone = {trial.id for trial in controller.trials.values() if trial.state in ("diverged", "failed", "pruned")}
        assert gone.isdisjoint(files(controller))
        seen |= gone
        assert winner(controller) is None or files(controller) >= {
            trial.id for trial in controller.trials.values() if trial.state == "paused"
        }
    dropped = {entry["trial"] for entry in decisions(controller, "drop")}
    assert dropped and dropped | {"T5"} <= seen
    assert all(controller.trials[trial].state == "pruned" for trial in dropped)


def test_nothing_is_left_that_a_look_at_all_files_would_delete(tmp_path: Path) -> None:
    world = asha(trials=12, lost={("T1", 1.0): "diverged", ("T2", 0.5): "failed"})
    controller = world.controller(tmp_path)
    looks = 0

    def look(_: int) -> int:
        nonlocal looks
        looks += 1
        before = files(controller)
        delete_checkpoints(controller.run, controller.trials, GO_ON)
        assert files(controller) == before
        return 0

    world.run(controller, choose=look)
    assert looks > 12


def test_a_search_that_is_left_before_its_end_keeps_its_checkpoints(tmp_path: Path) -> None:
    world = asha()
    controller = world.run(world.controller(tmp_path), reports=4)
    kept = files(controller)
    controller.close(2.0, over=False)
    assert files(controller) == kept and kept
    assert {trial.state.at_exit(False) for trial in controller.trials.values()} == {"interrupted"}
    assert {trial.state for trial in world.controller(tmp_path).trials.values()} <= {"running", "paused"}


# --- journal and replay


def small(searcher: str, scheduler: str, trials: int) -> World:
    rungs = {"first_rung": 1, "rungs": None} if scheduler == "freeze_thaw" else {"rungs": [0.5]}
    schedule = {**ASHA, **rungs, "scheduler": scheduler, "reports": 3}
    parameters = {"lr": LR, "predictor_depth": DEPTH}
    return World(make_space(schedule=schedule, searcher=searcher, parameters=parameters, trials=trials))


def worlds() -> Iterator[Any]:
    for searcher in ("random", "tpe"):
        for scheduler in ("asha", "freeze_thaw", "none"):
            yield pytest.param(small(searcher, scheduler, 4), id=f"{searcher}, {scheduler}")
    for scheduler in NATIVE:
        lost = {("T1", 0.5): "diverged", ("T3", 1.0): "failed"}
        yield pytest.param(replace(small("random", scheduler, 9), lost=lost), id=f"random, {scheduler}")
    lost = {("T0", 1.0): "diverged", ("T1", 0.5): "failed", ("T4-seed1", 1.0): "failed"}
    yield pytest.param(asha(lost=lost, settings=Settings(replicates=1)), id="lost ones and replicates")
    race = {"trials": 8, "schedule": {"scheduler": "none", "epochs": 1, "reports": 1}}
    yield pytest.param(World(make_space(**race), Settings(replicates="auto")), id="a race")
    yield pytest.param(asha(trials=4, settings=Settings(vary_seeds=True, seed=5)), id="seeds")
    memory = {("T0", 0.5): 1, ("T3", 0.5): 9, **{(f"T{number}", 1.0): 1 for number in range(3)}}
    yield pytest.param(asha(trials=4, settings=Settings(oom_retries=1), memory_errors=memory), id="out of memory")
    few = {"parameters": {"predictor_depth": {**DEPTH, "high": 3}}, "trials": 9}
    yield pytest.param(asha(**few), id="a finite space")
    thaw = {"scheduler": "freeze_thaw", "epochs": 3, "first_rung": 1, "reports": 3}
    yield pytest.param(
        World(make_space(schedule=thaw, trials=9, **{"parameters": few["parameters"]})), id="finite, thaw"
    )
    yield pytest.param(World(make_space(schedule=thaw, trials=6), Settings(keep_checkpoints=2)), id="few checkpoints")


def killed(whole: Controller, folder: Path, number: int) -> None:
    """A folder as `whole` would have left it, had it died over line `number` of its journal."""
    lines = whole.journal.path.read_bytes().splitlines(keepends=True)
    reports = whole.reports.path.read_bytes().splitlines(keepends=True)
    (folder / "checkpoints").mkdir(parents=True)
    before, line = [json.loads(entry) for entry in lines[:number]], lines[number]
    told = sum(entry["event"] == "result" for entry in before)
    # A report is written before its decision: it may be there, or half of it, or not at all.
    report = reports[told] if json.loads(line)["event"] == "result" else b""
    torn, rest = [(b"", b""), (line[: len(line) // 2], report), (b"", report[: len(report) // 2])][number % 3]
    (folder / "decisions.jsonl").write_bytes(b"".join(lines[:number]) + torn)
    (folder / "reports.jsonl").write_bytes(b"".join(reports[:told]) + rest)
    for entry in before:
        if entry["event"] == "result":
            (folder / "checkpoints" / f"{entry['trial']}.safetensors").touch()


@pytest.mark.parametrize("world", list(worlds()))
def test_a_search_that_was_killed_anywhere_is_the_same_search(tmp_path: Path, world: World) -> None:
    whole = world.run(world.controller(tmp_path / "whole"))
    told = {(entry["trial"], entry["resource"], entry["status"]): entry for entry in read_lines(whole.run.reports)}
    for number in range(len(decisions(whole))):
        killed(whole, tmp_path / str(number), number)
        controller = world.run(world.controller(tmp_path / str(number)))
        assert decisions(controller) == decisions(whole)
        assert known(controller) == known(whole)
        assert winner(controller) == winner(whole)
        assert told == {
            (entry["trial"], entry["resource"], entry["status"]): entry for entry in read_lines(controller.run.reports)
        }
        controller.close(1.0, over=True)
        assert files(controller) == best(whole)


@pytest.mark.parametrize("scheduler", ["asha", "freeze_thaw", *NATIVE])
@pytest.mark.parametrize("order", [[0], [1, 0, 2], [2, 2, 0, 1, 1]])
def test_three_workers_that_die_at_once(tmp_path: Path, scheduler: str, order: list[int]) -> None:
    world = with_schedule(scheduler, trials=7)
    controller, rest = world.controller(tmp_path), choices(order)
    for reports in range(1, 12):
        world.run(controller, workers=3, choose=rest, reports=reports)
        states = {trial.id: trial.state for trial in controller.trials.values()}
        controller, before = world.controller(tmp_path), controller
        assert {trial.id: trial.state for trial in controller.trials.values()} == states
        assert known(controller) == known(before)
    world.run(controller, workers=3, choose=rest)
    assert winner(controller) is not None and controller.over
    assert len(controller.trials) == 7


def test_who_was_on_the_way_goes_first_and_no_decision_is_made_again(tmp_path: Path) -> None:
    world = asha()
    controller = world.run(world.controller(tmp_path), workers=3, choose=choices([1]), reports=2)
    running = [trial.id for trial in controller.trials.values() if trial.state == "running"]
    written = controller.journal.path.read_bytes()
    again = world.controller(tmp_path)
    assert again.running == 0 and not again.over
    taken = [again.next() for _ in running]
    assert [trial.id for trial in taken if trial is not None] == running
    assert again.journal.path.read_bytes() == written
    assert again.running == len(running)


def test_a_journal_without_its_report_is_told_in_one_line(tmp_path: Path) -> None:
    world = asha(trials=2)
    controller = world.run(world.controller(tmp_path), reports=3)
    controller.reports.path.write_text("")
    with pytest.raises(RunError) as caught:
        world.controller(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{controller.reports.path}: lacks the report of T0 at 0.5") and "\n" not in message


def test_a_damaged_journal_is_told_in_one_line(tmp_path: Path) -> None:
    world = asha(trials=2)
    path = world.run(world.controller(tmp_path)).journal.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{}{\n", *lines[4:]]))
    with pytest.raises(RunError, match=r"decisions\.jsonl: line 4 is damaged"):
        world.controller(tmp_path)


def test_time_adds_up_over_sessions(tmp_path: Path) -> None:
    world = asha()
    world.run(world.controller(tmp_path), reports=3).close(10.0, over=False)
    controller = world.run(world.controller(tmp_path))
    controller.close(5.0, over=True)
    assert (controller.trials.seconds, world.controller(tmp_path).trials.seconds) == (15.0, 15.0)

"""A search without Ray: what it decides, what it remembers, and that a search which was killed is the same search."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.trials import TrialRecord
from salt_tune.controller.controller import Steering
from salt_tune.controller.proposal import Proposal
from salt_tune.controller.state import Options
from salt_tune.registry import SCHEDULERS
from tests.salt_tune.driving import choices
from tests.salt_tune.made_records import LR, make_report, make_space
from tests.salt_tune.steered import World, decisions, files, known, winner
from trainable.errors import UserError

DEPTH = {"type": "int", "low": 1, "high": 4}
NATIVE = ("asha_stop", "median", "hyperband")
ASHA = {"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def asha(**entries: Any) -> World:
    options = entries.pop("options", Options())
    faults = {name: entries.pop(name) for name in ("lost", "memory_errors") if name in entries}
    return World(make_space(schedule=ASHA, **{"trials": 6, **entries}), options, **faults)


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
    steering = world.run(world.steering(tmp_path))
    order = [(entry["trial"], entry["from"], entry["to"]) for entry in decisions(steering, "run")]
    assert order[:3] == [("T0", 0, 0.5), ("T1", 0, 0.5), ("T2", 0, 0.5)]
    assert sum(to == 1 for *_, to in order) == 2 and sum(to == 3 for *_, to in order) == 1
    states = [record.state for record in steering.records.values()]
    assert states.count("finished") == 1 and states.count("diverged") == 1
    best = min(steering.records.values(), key=lambda record: world.loss(record, 3))
    assert winner(steering) == best.id
    assert best.state == "finished" and best.resource == 3
    assert steering.over and not steering.running


def test_what_is_told_to_listeners(tmp_path: Path) -> None:
    class Told:
        def __init__(self) -> None:
            self.heard: list[tuple[str, str, Any]] = []

        def on_start(self, record: TrialRecord) -> None:
            self.heard.append(("start", record.id, record.resource))

        def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
            self.heard.append(("report", record.id, report["resource"]))

        def on_end(self, record: TrialRecord) -> None:
            self.heard.append(("end", record.id, record.state))

    told, world = Told(), asha(trials=3, lost={("T1", 0.5): "failed", ("T2", 0.5): "diverged"})
    world.run(world.steering(tmp_path, listeners=[told]))
    assert told.heard[:8] == [
        ("start", "T0", 0), ("report", "T0", 0.5),
        ("start", "T1", 0), ("end", "T1", "failed"),
        ("start", "T2", 0), ("report", "T2", 0.5), ("end", "T2", "diverged"),
        ("start", "T0", 0.5),
    ]  # fmt: skip
    assert told.heard[-1] == ("end", "T0", "finished")


def test_common_and_varied_seeds(tmp_path: Path) -> None:
    for vary, seeds in ((False, [7, 7, 7]), (True, [7, 8, 9])):
        world = asha(trials=3, options=Options(seed=7, vary_seeds=vary))
        steering = world.run(world.steering(tmp_path / str(vary)))
        assert [record.proposal.seed for record in steering.records.values()] == seeds
        assert [record.proposal.config["seed"] for record in steering.records.values()] == seeds


def test_the_end_of_a_finite_space_is_the_end_of_the_search(tmp_path: Path) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=9)
    steering = world.run(world.steering(tmp_path))
    assert sorted(record.proposal.config["predictor_depth"] for record in steering.records.values()) == [1, 2, 3, 4]
    assert [record.state for record in steering.records.values()].count("finished") == 1
    assert steering.extend(3) == 0
    assert steering.next() is None and steering.over
    assert world.steering(tmp_path).scheduler.allowed == 4


@pytest.mark.parametrize("searcher", ["random", "grid", "sobol", "tpe"])
def test_trials_without_a_configuration_are_taken_back_before_the_first(tmp_path: Path, searcher: str) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=9, searcher=searcher)
    steering = world.steering(tmp_path)
    assert (steering.limit(), steering.limit()) == (4, 4)
    world.run(steering, reports=2)
    again = world.steering(tmp_path)
    assert (again.limit(), again.begun) == (4, len(steering.records))
    world.run(again)
    assert sorted(record.proposal.config["predictor_depth"] for record in again.records.values()) == [1, 2, 3, 4]
    assert [entry["trials"] for entry in decisions(again, "exhausted")] == [4]
    assert again.searcher.left(1) == 0


def test_no_more_is_added_than_there_is(tmp_path: Path) -> None:
    world = asha(parameters={"predictor_depth": DEPTH}, trials=2)
    steering = world.run(world.steering(tmp_path))
    assert steering.limit() == 2
    assert (steering.extend(1), steering.extend(9), steering.extend(9)) == (1, 1, 0)
    world.run(steering)
    assert steering.begun == 4
    endless = asha(trials=2)
    steering = endless.run(endless.steering(tmp_path / "endless"))
    assert steering.extend(10**6) == 10**6


def test_a_configuration_that_does_not_fit_is_a_trial_that_fails(tmp_path: Path) -> None:
    """Its worker would say so; here, as a search that is taken up again meets it in its journal."""
    dims = {"type": "choice", "values": [64, 100]}
    world = asha(parameters={"predictor_dim": dims, "lr": LR}, trials=4, searcher="random")
    steering = world.steering(tmp_path)
    unfit = []
    while (record := steering.next()) is not None:
        if record.proposal.config["predictor_dim"] == 100:
            unfit.append(record.id)
            steering.end(record.id, "failed", "predictor_dim = 100: must be divisible by 64")
        else:
            steering.report(record.id, world.report(steering, record) or {})
        steering = world.steering(tmp_path)
    assert unfit and len(unfit) < 4
    assert [record.id for record in steering.records.values() if record.state == "failed"] == unfit
    assert steering.over and winner(steering) not in unfit


def test_draining_starts_nothing(tmp_path: Path) -> None:
    world = asha()
    steering = world.run(world.steering(tmp_path), reports=2)
    steering.draining = True
    assert steering.next() is None


# --- reports


def test_reports_that_come_twice_change_nothing(tmp_path: Path) -> None:
    world = asha(trials=3)
    steering = world.steering(tmp_path)
    while (record := steering.next()) is not None:
        while record.state == "running":
            report = world.report(steering, record)
            assert report is not None
            verdict = steering.report(record.id, report)
            before = (steering.journal.path.read_bytes(), steering.reports.path.read_bytes(), str(record))
            assert steering.report(record.id, report) == verdict
            assert (steering.journal.path.read_bytes(), steering.reports.path.read_bytes(), str(record)) == before
    for record in steering.records.values():
        steering.report(record.id, make_report(0.5, 0.1))
        steering.end(record.id, "failed" if record.state == "finished" else record.state)
    assert winner(steering) == min(steering.records.values(), key=lambda record: world.loss(record, 3)).id


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_lost_trials_do_not_go_on(tmp_path: Path, state: str) -> None:
    world = asha(lost={("T0", 0.5): state, ("T2", 1.0): state})
    steering = world.run(world.steering(tmp_path))
    assert steering.records["T0"].state == state
    assert [entry["to"] for entry in decisions(steering, "run") if entry["trial"] == "T0"] == [0.5]
    assert (steering.records["T0"].error is not None) == (state == "failed")
    assert winner(steering) not in (None, "T0") and steering.over


@pytest.mark.parametrize(("retries", "state"), [(0, "out_of_memory"), (1, "out_of_memory"), (2, "finished")])
def test_out_of_memory_is_tried_again_so_often(tmp_path: Path, retries: int, state: str) -> None:
    world = asha(trials=1, options=Options(oom_retries=retries), memory_errors={("T0", 1.5): 2})
    steering = world.run(world.steering(tmp_path))
    record = steering.records["T0"]
    assert record.state == state
    assert [entry["status"] for entry in decisions(steering, "result")].count("out_of_memory") == min(retries + 1, 2)
    assert record.resource == (3 if state == "finished" else 1)
    assert record.scores[1] == world.loss(record, 1)
    assert (winner(steering) is None) == (state != "finished")


def test_out_of_memory_at_once(tmp_path: Path) -> None:
    world = asha(trials=2, memory_errors={("T0", 0.5): 1})
    steering = world.run(world.steering(tmp_path))
    assert (steering.records["T0"].state, steering.records["T0"].resource) == ("out_of_memory", 0)
    assert winner(steering) == "T1"


# --- after the search


def test_finalists_are_trained_again_with_other_seeds(tmp_path: Path) -> None:
    options = Options(seed=3, replicates=2)
    world = World(make_space(schedule={"scheduler": "none", "epochs": 1, "reports": 2}, trials=5), options)
    steering = world.run(world.steering(tmp_path))
    best = sorted(
        (record for record in steering.records.values() if record.proposal.replicate_of is None),
        key=lambda record: world.loss(record, 1),
    )[:3]
    runs = [entry["trial"] for entry in decisions(steering, "run")]
    assert runs[:5] == [f"T{number}" for number in range(5)]
    assert runs[5:] == [f"{record.id}-seed{number}" for number in (1, 2) for record in best]
    for record in best:
        for number in (1, 2):
            again = steering.records[f"{record.id}-seed{number}"]
            assert again.proposal == Proposal(
                again.id,
                record.proposal.parameters,
                {**record.proposal.config, "seed": 3 + number},
                3 + number,
                record.id,
            )
            assert (again.state, again.resource) == ("finished", 1)
    assert winner(steering) == best[0].id


def test_replicates_that_are_lost_are_not_tried_again(tmp_path: Path) -> None:
    lost = {("T0-seed1", 0.5): "diverged", ("T0-seed2", 1.0): "failed"}
    world = World(
        make_space(schedule={"scheduler": "none", "epochs": 1, "reports": 2}, trials=1), Options(replicates=3), lost
    )
    steering = world.run(world.steering(tmp_path))
    assert {record.id: record.state for record in steering.records.values()} == {
        "T0": "finished", "T0-seed1": "diverged", "T0-seed2": "failed", "T0-seed3": "finished"
    }  # fmt: skip


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_more_trials_after_the_end(tmp_path: Path, scheduler: str) -> None:
    world = with_schedule(scheduler)
    ended = world.run(world.steering(tmp_path))
    ended.close(1.5, ended=True)
    count = len(ended.records)
    steering = world.steering(tmp_path)
    assert steering.over and steering.seconds == 1.5
    steering.extend(4)
    assert not steering.over
    world.run(steering)
    assert len(steering.records) == count + 4
    again = world.steering(tmp_path)
    assert again.over and known(again) == known(steering)


# --- checkpoints


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_the_end_only_the_winner_has_a_checkpoint(tmp_path: Path, scheduler: str) -> None:
    world = with_schedule(scheduler)
    steering = world.steering(tmp_path)
    stranger = steering.checkpoints / "somebody-elses.safetensors"
    stranger.touch()
    world.run(steering)
    best = winner(steering)
    assert best in files(steering)
    alive = {record.id for record in steering.records.values() if record.state in ("running", "paused")}
    assert files(steering) == {"somebody-elses", best} | alive
    steering.close(1, ended=True)
    assert files(steering) == {"somebody-elses", best}
    assert {record.state for record in steering.records.values()} <= {"finished", "pruned"}


def test_losers_give_their_checkpoints_up_on_the_way(tmp_path: Path) -> None:
    world = asha(trials=12, lost={("T1", 1.0): "diverged", ("T2", 0.5): "failed", ("T5", 0.5): "diverged"})
    steering = world.steering(tmp_path)
    seen: set[str] = set()
    while not steering.over:
        before = len(decisions(steering))
        world.run(steering, reports=1)
        steering = world.steering(tmp_path)
        assert len(decisions(steering)) >= before
        gone = {record.id for record in steering.records.values() if record.state in ("diverged", "failed", "pruned")}
        assert gone.isdisjoint(files(steering))
        seen |= gone
        assert winner(steering) is None or files(steering) >= {
            record.id for record in steering.records.values() if record.state == "paused"
        }
    dropped = {entry["trial"] for entry in decisions(steering, "drop")}
    assert dropped and dropped | {"T5"} <= seen
    assert all(steering.records[trial].state == "pruned" for trial in dropped)


def test_a_search_that_is_left_before_its_end_keeps_its_checkpoints(tmp_path: Path) -> None:
    world = asha()
    steering = world.run(world.steering(tmp_path), reports=4)
    kept = files(steering)
    steering.close(2.0, ended=False)
    assert files(steering) == kept and kept
    assert {record.state for record in steering.records.values()} == {"interrupted"}
    assert {record.state for record in world.steering(tmp_path).records.values()} <= {"running", "paused"}


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
    yield pytest.param(asha(lost=lost, options=Options(replicates=1)), id="lost ones and replicates")
    yield pytest.param(asha(trials=4, options=Options(vary_seeds=True, seed=5)), id="seeds")
    memory = {("T0", 0.5): 1, ("T3", 0.5): 9, **{(f"T{number}", 1.0): 1 for number in range(3)}}
    yield pytest.param(asha(trials=4, options=Options(oom_retries=1), memory_errors=memory), id="out of memory")
    few = {"parameters": {"predictor_depth": {**DEPTH, "high": 3}}, "trials": 9}
    yield pytest.param(asha(**few), id="a finite space")
    thaw = {"scheduler": "freeze_thaw", "epochs": 3, "first_rung": 1, "reports": 3}
    yield pytest.param(
        World(make_space(schedule=thaw, trials=9, **{"parameters": few["parameters"]})), id="finite, thaw"
    )
    yield pytest.param(World(make_space(schedule=thaw, trials=6), Options(keep_checkpoints=2)), id="few checkpoints")


def killed(whole: Steering, folder: Path, number: int) -> None:
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
    whole = world.run(world.steering(tmp_path / "whole"))
    told = {(entry["trial"], entry["resource"], entry["status"]): entry for entry in whole.reports.read()}
    for number in range(len(decisions(whole))):
        killed(whole, tmp_path / str(number), number)
        steering = world.run(world.steering(tmp_path / str(number)))
        assert decisions(steering) == decisions(whole)
        assert known(steering) == known(whole)
        assert winner(steering) == winner(whole)
        assert told == {
            (entry["trial"], entry["resource"], entry["status"]): entry for entry in steering.reports.read()
        }
        steering.close(1.0, ended=True)
        assert files(steering) == {winner(whole)}


@pytest.mark.parametrize("scheduler", ["asha", "freeze_thaw", *NATIVE])
@pytest.mark.parametrize("order", [[0], [1, 0, 2], [2, 2, 0, 1, 1]])
def test_three_workers_that_die_at_once(tmp_path: Path, scheduler: str, order: list[int]) -> None:
    world = with_schedule(scheduler, trials=7)
    steering, rest = world.steering(tmp_path), choices(order)
    for reports in range(1, 12):
        world.run(steering, workers=3, choose=rest, reports=reports)
        states = {record.id: record.state for record in steering.records.values()}
        steering, before = world.steering(tmp_path), steering
        assert {record.id: record.state for record in steering.records.values()} == states
        assert known(steering) == known(before)
    world.run(steering, workers=3, choose=rest)
    assert winner(steering) is not None and steering.over
    assert len(steering.records) == 7


def test_who_was_on_the_way_goes_first_and_no_decision_is_made_again(tmp_path: Path) -> None:
    world = asha()
    steering = world.run(world.steering(tmp_path), workers=3, choose=choices([1]), reports=2)
    running = [record.id for record in steering.records.values() if record.state == "running"]
    written = steering.journal.path.read_bytes()
    again = world.steering(tmp_path)
    assert again.running == 0 and not again.over
    taken = [again.next() for _ in running]
    assert [record.id for record in taken if record is not None] == running
    assert again.journal.path.read_bytes() == written
    assert again.running == len(running)


def test_a_journal_without_its_report_is_told_in_one_line(tmp_path: Path) -> None:
    world = asha(trials=2)
    steering = world.run(world.steering(tmp_path), reports=3)
    steering.reports.path.write_text("")
    with pytest.raises(UserError) as caught:
        world.steering(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{steering.reports.path}: lacks the report of T0 at 0.5") and "\n" not in message


def test_a_damaged_journal_is_told_in_one_line(tmp_path: Path) -> None:
    world = asha(trials=2)
    path = world.run(world.steering(tmp_path)).journal.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{}{\n", *lines[4:]]))
    with pytest.raises(UserError, match=r"decisions\.jsonl: line 4 is damaged"):
        world.steering(tmp_path)


def test_time_adds_up_over_sessions(tmp_path: Path) -> None:
    world = asha()
    world.run(world.steering(tmp_path), reports=3).close(10.0, ended=False)
    steering = world.run(world.steering(tmp_path))
    steering.close(5.0, ended=True)
    assert (steering.seconds, world.steering(tmp_path).seconds) == (15.0, 15.0)

"""A search that died between any two lines of its journal is taken up as if it had not; trials are made up here."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import RunError
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import complete
from analysis.run_directory.trials import Trial
from salt_tune.controller.controller import Controller
from salt_tune.controller.decision import Decision
from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.controller.settings import Settings
from salt_tune.report.finalists import MOST_TIED
from salt_tune.runs.journal import Journal
from salt_tune.space.search_space import SearchSpace

LR = {"type": "log_uniform", "low": 1e-4, "high": 1e-1}
DEPTH = {"type": "choice", "values": [1, 2, 3, 4]}
SCHEDULE = {"epochs": 4, "first_rung": 1, "reports": 8, "reduction_factor": 2}
SPACES = {
    "asha, tpe": ("asha", "tpe", {"lr": LR, "predictor_depth": DEPTH}),
    "freeze_thaw, random": ("freeze_thaw", "random", {"lr": LR, "predictor_depth": DEPTH}),
    "freeze_thaw, tpe": ("freeze_thaw", "tpe", {"lr": LR}),
    "asha, a grid that ends": ("asha", "grid", {"predictor_depth": DEPTH}),
    "none, random": ("none", "random", {"lr": LR}),
    "asha_stop, random": ("asha_stop", "random", {"lr": LR, "predictor_depth": DEPTH}),
    "median, random": ("median", "random", {"lr": LR, "predictor_depth": DEPTH}),
    "hyperband, random": ("hyperband", "random", {"lr": LR, "predictor_depth": DEPTH}),
}


class Killed(BaseException):
    """The process dies."""


class Mortal(Journal):
    """A journal whose process dies within the line number `last` of all that its search writes."""

    def __init__(self, path: Path, written: Counter[str], last: float) -> None:
        super().__init__(path)
        self._written, self._last = written, last

    def append(self, entry: dict[str, Any]) -> None:
        """See `Journal`."""
        self._written["lines"] += 1
        if self._written["lines"] == self._last:
            with self.path.open("a") as file:
                file.write(json.dumps(entry)[: len(str(entry)) // 2])
            raise Killed
        super().append(entry)


class Bench:
    """The worker's side of a search: reports made up from hyperparameters, kept as checkpoints keep them."""

    def __init__(self, folder: Path, space: SearchSpace, settings: Settings) -> None:
        self.folder, self.space, self.settings = folder, space, settings
        self.trained: list[tuple[str, float]] = []
        self._checkpoints: dict[str, dict[str, Any]] = {}
        folder.mkdir()
        (folder / "checkpoints").mkdir()

    def open(self, last: float = math.inf) -> Controller:
        """The search as its files have it."""
        written: Counter[str] = Counter()
        controller = Controller(
            space=self.space,
            settings=self.settings,
            scheduler=make_scheduler(self.space.schedule, self.space.trials),
            searcher=make_searcher(self.space, self.settings.seed),
            run=RunDirectory(self.folder),
            journal=Mortal(self.folder / "decisions.jsonl", written, last),
            reports=Mortal(self.folder / "reports.jsonl", written, last),
        )
        controller.resume()
        return controller

    def run(self, controller: Controller, most: float = math.inf, look: Callable[[], None] = lambda: None) -> None:
        """Runs one trial at a time until nothing is left to do or so many reports have come; looks after each."""
        while most > 0 and (trial := controller.next()) is not None:
            known, decision = trial.resource, Decision.CONTINUE
            while most > 0 and decision is Decision.CONTINUE:
                report = self._report(trial, known)
                known, most = report["resource"], most - 1
                decision = controller.report(trial.id, report)
                look()

    def _report(self, trial: Trial, known: float) -> dict[str, Any]:
        name, last = trial.id, self._checkpoints.get(trial.id, {"resource": 0.0})
        if last["resource"] > known:
            return last
        config, points = trial.config, self.space.schedule.report_points()
        point = next(point for point in points if point > last["resource"])
        report: dict[str, Any] = {
            "resource": point,
            "epoch": point,
            "val_loss": 1 / config["predictor_depth"] + config["seed"] / 9 - point / 9,
        }
        report |= {"status": "complete" if point == points[-1] else "running", "val_r2": 0.0}
        if config["lr"] > 0.05:
            report |= {"status": "diverged", "val_loss": math.nan}
        elif config["lr"] > 0.02 and point > 1:
            return {**report, "status": "out_of_memory", "val_loss": math.nan, "resource": last["resource"]}
        self.trained.append((name, point))
        self._checkpoints[name] = report
        (self.folder / "checkpoints" / f"{name}.safetensors").touch()
        return report

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What was decided."""
        return [entry for entry in read_lines(self.folder / "decisions.jsonl") if entry["event"] != "session"]


def make_space(scheduler: str, searcher: str, parameters: dict[str, Any], trials: int = 6) -> SearchSpace:
    schedule = {**SCHEDULE, "scheduler": scheduler}
    entries = {"name": "made-up", "searcher": searcher, "schedule": schedule, "parameters": parameters}
    return SearchSpace.model_validate({**entries, "trials": trials})


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


FAST = ("asha, tpe", "freeze_thaw, tpe")  # the others, which take two minutes, with `make test-all`


@pytest.mark.parametrize(
    ("scheduler", "searcher", "parameters"),
    [pytest.param(*SPACES[name], id=name, marks=() if name in FAST else pytest.mark.slow) for name in SPACES],
)
def test_it_dies_in_any_line(tmp_path: Path, scheduler: str, searcher: str, parameters: dict[str, Any]) -> None:
    space, settings = make_space(scheduler, searcher, parameters), Settings(replicates=1, oom_retries=1)
    whole = Bench(tmp_path / "whole", space, settings)
    whole.run(whole.open())
    lines = sum(len((whole.folder / name).read_text().splitlines()) for name in ("decisions.jsonl", "reports.jsonl"))
    assert lines > 30
    costly = scheduler == "freeze_thaw" or searcher == "tpe"
    for last in range(1, lines + 1, 5 if costly else 1):
        bench = Bench(tmp_path / str(last), space, settings)
        with pytest.raises(Killed):
            bench.run(bench.open(last))
        controller = bench.open()
        bench.run(controller)
        assert controller.over
        assert bench.decisions == whole.decisions
        assert bench.trained == whole.trained
        assert len(set(bench.trained)) == len(bench.trained)


@pytest.mark.parametrize(("scheduler", "searcher"), [("asha", "tpe"), ("freeze_thaw", "random")])
def test_it_dies_again_and_again(tmp_path: Path, scheduler: str, searcher: str) -> None:
    space = make_space(scheduler, searcher, {"lr": LR, "predictor_depth": DEPTH})
    whole, bench = (Bench(tmp_path / name, space, Settings()) for name in ("whole", "killed"))
    whole.run(whole.open())
    for last in range(1, 12):
        with pytest.raises(Killed):
            bench.run(bench.open(last))
    bench.run(bench.open())
    assert (bench.decisions, bench.trained) == (whole.decisions, whole.trained)


@pytest.mark.parametrize("retries", [0, 2])
def test_out_of_memory_is_tried_again_as_often_as_asked_and_no_more(tmp_path: Path, retries: int) -> None:
    space = make_space("none", "random", {"lr": {"type": "log_uniform", "low": 0.03, "high": 0.04}}, trials=2)
    bench = Bench(tmp_path / "run", space, Settings(oom_retries=retries))
    controller = bench.open()
    bench.run(controller)
    lost = [entry["trial"] for entry in bench.decisions if entry.get("status") == "out_of_memory"]
    assert sorted(lost) == ["T0"] * (1 + retries) + ["T1"] * (1 + retries)
    assert [trial.state for trial in controller.trials.values()] == ["out_of_memory"] * 2


@pytest.mark.parametrize("scheduler", ["asha", "freeze_thaw"])
@pytest.mark.parametrize("most", [7, math.inf], ids=["killed", "over"])
def test_it_is_extended(tmp_path: Path, scheduler: str, most: float) -> None:
    space = make_space(scheduler, "tpe", {"lr": LR, "predictor_depth": DEPTH})
    bench = Bench(tmp_path / "run", space, Settings())
    bench.run(bench.open(), most)
    before = set(bench.trained)
    bench.open().extend(3)
    controller = bench.open()  # the extension itself survives a kill
    bench.run(controller)
    assert list(controller.trials) == [f"T{number}" for number in range(space.trials + 3)]
    assert before <= set(bench.trained)
    assert len(set(bench.trained)) == len(bench.trained)


@pytest.mark.parametrize("scheduler", ["asha", "freeze_thaw"])
def test_checkpoints_go_as_soon_as_their_trials_cannot_go_on(tmp_path: Path, scheduler: str) -> None:
    space = make_space(scheduler, "random", {"lr": {**LR, "high": 1e-2}, "predictor_depth": DEPTH}, trials=27)
    bench = Bench(tmp_path / "run", space, Settings())
    controller, counts = bench.open(), []

    def look() -> None:
        kept = {path.stem for path in (bench.folder / "checkpoints").iterdir()}
        needed = {name for name, trial in controller.trials.items() if trial.state in ("running", "paused")}
        assert needed & {trial for trial, _ in bench.trained} <= kept
        assert {controller.trials[name].state for name in kept - needed} <= {"complete"}
        assert len(kept - needed) <= MOST_TIED
        counts.append(len(kept))

    bench.run(controller, look=look)
    assert controller.over
    assert max(counts) <= (16 if scheduler == "asha" else space.trials)
    controller.close(1.0, over=True)
    left = {path.stem for path in (bench.folder / "checkpoints").iterdir()}
    assert left == {trial.id for trial in complete(controller.trials.values())[:MOST_TIED]}


DAMAGES = {
    "no JSON": b"{]",
    "no text": b"\xff\xfe",
    "no object": b"7",
    "no event": b"{}",
    "an unknown trial": b'{"event": "end", "trial": "T77", "state": "failed", "error": null}',
    "a field less": b'{"event": "run", "trial": "T0"}',
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    bench = Bench(tmp_path / "run", make_space("asha", "random", {"lr": LR}), Settings())
    bench.run(bench.open())
    path = bench.folder / "decisions.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], damage, *lines[5:]]) + b"\n")
    with pytest.raises(RunError, match=r"decisions\.jsonl: line 5 is damaged: ") as caught:
        bench.open()
    assert "\n" not in str(caught.value)


def test_a_report_that_is_missing_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "run", make_space("asha", "random", {"lr": LR}), Settings())
    bench.run(bench.open())
    (bench.folder / "reports.jsonl").write_bytes(b"")
    with pytest.raises(RunError, match=r"reports\.jsonl: lacks the report of T0 at 0\.5, which decisions\.jsonl names"):
        bench.open()

"""The race goes on from what final runs have reported, and believes their reports alone."""

import json
from pathlib import Path

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory
from salt_tune.controller.final_race import race
from salt_tune.runs.final_plan import Planned
from tests.analysis.fake_run import RUNGS, write_lines, write_run
from trainable.worker import FinalSpec

END = 8.0


def plan(run: RunDirectory, trial: str) -> Planned:
    """A final run of 10 epochs, with a report an epoch."""
    final = run.final(trial, 10)
    spec = FinalSpec(
        config={"epochs": 10}, evaluation={}, reports_per_epoch=1, folder=final.path, threads=1, provenance={},
        baselines=run.baselines, checkpoint_minutes=1.0,
    )  # fmt: skip
    return Planned({"id": trial}, final, spec, None)


def compete(run: RunDirectory, plans: list[Planned], losses: dict[str, float], verdicts: dict[str, str]) -> str | None:
    """Lets finalists go on, each to a loss of its own; returns the winner."""

    def train(plan: Planned, milestone: float) -> None:
        done = [*read_lines(plan.final.reports)]
        report = {"epoch": milestone, "val_loss": losses[plan.name], "verdict": verdicts.get(plan.name)}
        write_lines(plan.final.reports, [*done, report])

    winner = race(run, plans, RUNGS, END, train, lambda _: None)
    return None if winner is None else winner.name


def test_the_one_whose_reports_are_best_wins(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", promoted=False)
    plans = [plan(run, "T2"), plan(run, "T4")]
    assert compete(run, plans, {"T2": 0.40, "T4": 0.30}, {}) == "T4"
    assert [line["epoch"] for line in read_lines(plans[1].final.reports)][-1] == END


def test_a_collapsed_finalist_loses_whatever_its_loss(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", promoted=False)
    plans = [plan(run, "T2"), plan(run, "T4")]
    assert compete(run, plans, {"T2": 0.40, "T4": 0.10}, {"T4": "collapsed"}) == "T2"


def test_a_race_that_is_over_trains_nothing_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", promoted=False)
    plans = [plan(run, "T2"), plan(run, "T4")]
    assert compete(run, plans, {"T2": 0.40, "T4": 0.30}, {}) == "T4"
    before = json.dumps([[*read_lines(each.final.reports)] for each in plans])
    compete(run, plans, {"T2": 0.0, "T4": 0.0}, {})
    assert json.dumps([[*read_lines(each.final.reports)] for each in plans]) == before


def test_without_a_report_it_was_interrupted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", promoted=False)
    plans = [plan(run, "T2"), plan(run, "T4")]
    assert race(run, plans, RUNGS, END, lambda *_: None, lambda _: None) is None

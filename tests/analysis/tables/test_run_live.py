"""A run directory becomes tables at any time: while its search runs, after it died, and after it was resumed."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from analysis import RunError, load, rank_stability
from analysis.charts import ranking
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from salt_tune.controller.controller import Controller
from salt_tune.report.summary import write_summary
from salt_tune.space.description import describe
from tests.salt_tune.controlled import World, decisions
from tests.salt_tune.made_trials import BASELINES, make_space, write_losses

STORE = {"path": "/stores/s"}
WORLD = World(
    make_space(trials=6, schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}),
    lost={("T1", 0.5): "failed", ("T2", 0.5): "diverged"},
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that has begun."""
    begun = RunDirectory(tmp_path)
    asked = {"format_version": FORMAT_VERSION, "baselines": BASELINES, "seed": 0, "store": STORE}
    begun.manifest.write_text(json.dumps({**asked, **describe(WORLD.space)}))
    return begun


def search(run: RunDirectory, reports: int = 10**6) -> Controller:
    """A search that goes on for so many reports."""
    return WORLD.run(WORLD.controller(run.path), reports=reports)


def end(run: RunDirectory, controller: Controller) -> None:
    """What the process of a search leaves at its end."""
    controller.close(9.0, over=True)
    write_summary(
        run, WORLD.space, list(controller.trials.values()),
        store=STORE, baselines=BASELINES, seed=0, wall_seconds=9.0, over=True,
    )  # fmt: skip


def test_a_search_that_runs_is_tables(run: RunDirectory) -> None:
    controller = search(run, reports=5)
    running = controller.next()
    assert running is not None
    write_losses(run, "T0", 0.5, 0.5)
    found = load(run.path)
    assert not found.over and found.best is None
    states = dict(zip(found.trials["trial"], found.trials["state"], strict=True))
    assert states == {name: str(trial.state) for name, trial in controller.trials.items()}
    assert {"running", "failed", "diverged"} <= set(states.values())
    rows = found.trials.set_index("trial")
    assert rows.loc["T0", "score"] == controller.trials["T0"].score
    assert rows.loc[["T1", "T2"], "rank"].isna().all()
    assert rows.loc["T1", "error"] == "OSError: its store has gone"
    assert len(found.reports) == 4 and found.parameters == ["lr"] and found.resource == "epoch"
    assert set(found.clip_losses("T0")["resource"]) == {0.5}


def test_events_are_the_decisions(run: RunDirectory) -> None:
    controller = search(run)
    events = load(run.path).decisions
    written = decisions(controller)
    assert events["event"].tolist() == [entry["event"] for entry in written]
    jobs = events[events["event"] == "run"]
    assert jobs["milestone"].tolist() == [entry["milestone"] for entry in decisions(controller, "run")]
    assert jobs["reason"].iloc[0] == "nothing to promote"
    for name in ("predicted", "predicted_sd", "chance"):  # ASHA predicts nothing
        assert str(events[name].dtype) == "float64" and events[name].isna().all()
    results = events[events["event"] == "result"]
    assert results["score"].isna().sum() == 1  # of the one that diverged
    assert str(results["retry"].dtype) == "boolean" and not results["retry"].any()


def test_a_line_that_is_being_written_is_left_alone(run: RunDirectory) -> None:
    search(run, reports=5)
    whole = load(run.path)
    for path in (run.decisions, run.reports):
        with path.open("a", encoding="utf-8") as file:
            file.write('{"event": "res')
    before = run.decisions.read_bytes()
    with pytest.warns(UserWarning, match="was cut off"):
        again = load(run.path)
    pd.testing.assert_frame_equal(again.trials, whole.trials)
    pd.testing.assert_frame_equal(again.reports, whole.reports)
    assert run.decisions.read_bytes() == before


def test_a_summary_counts_until_the_search_goes_on(run: RunDirectory) -> None:
    end(run, search(run))
    first = load(run.path)
    assert first.over and first.best is not None
    controller = WORLD.controller(run.path)
    controller.extend(2)
    added = controller.next()
    assert added is not None
    found = load(run.path)
    assert not found.over and found.best == first.best
    assert found.trials["trial"].tolist() == [*first.trials["trial"], added.id]
    end(run, WORLD.run(WORLD.controller(run.path)))
    assert load(run.path).over


def test_what_needs_no_comparison_is_shown_of_a_search_that_runs(run: RunDirectory) -> None:
    search(run, reports=9)
    found = load(run.path)
    assert set(rank_stability(found)["conclusion"]) == {"too few"}
    assert ranking(found).to_dict()["title"]["text"][0].startswith("The best ")
    assert f"{len(found.trials)} trials" in repr(found)


def test_a_run_without_a_trial_is_empty_tables(run: RunDirectory) -> None:
    found = load(run.path)
    assert found.trials.empty and found.reports.empty and found.decisions.empty and found.best is None


def test_a_run_of_an_earlier_format_is_refused_before_its_lines_are_read(run: RunDirectory) -> None:
    run.manifest.write_text(json.dumps({"format_version": FORMAT_VERSION - 1}))
    run.decisions.write_text('{"event": "run", "trial": "T0", "from": 0.0, "to": 1.0, "why": "new"}\n')
    with pytest.raises(RunError, match=f"has format_version {FORMAT_VERSION - 1}, and this version"):
        load(run.path)


def test_a_damaged_journal_is_named(run: RunDirectory) -> None:
    search(run)
    run.decisions.write_text('{"event": "end", "trial": "T9", "state": "failed", "error": null}\n')
    with pytest.raises(RunError, match=r"decisions\.jsonl: line 1 is damaged: KeyError: 'T9'"):
        load(run.path)

"""The end of a search: what summary.json holds, what the console says of it, and what the card of its encoder does."""

from pathlib import Path

import pytest

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from salt_tune.report.losses import without_learning, worth
from salt_tune.report.model_card import write_card
from salt_tune.ui.console import console
from tests.salt_tune.made_trials import BASELINES, final_spec, make_report, make_space, make_trial, trained
from tests.salt_tune.summaries import by_id, printed, search, starting, summarize
from tests.small_store import build_store
from trainable.config import TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.evaluate.baselines import BASELINE_NAMES
from trainable.task import find_task


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "made")
    directory.path.mkdir()
    return directory


def table_head(lines: list[str]) -> list[str]:
    """The words above the columns of the table."""
    last = lines.index(starting(lines, "rank"))
    return " ".join(lines[last - 1 : last + 1]).split()


def test_trials_are_ranked_by_how_long_they_trained_then_by_score(run: RunDirectory) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    trials = by_id(summary)
    assert {name: trial["rank"] for name, trial in trials.items()} == {
        "T1": 1, "T3": 2, "T4": 3, "T0": 4, "T2": 5, "T5": None,
    }  # fmt: skip
    assert {name: trial["state"] for name, trial in trials.items()} == {
        **dict.fromkeys(("T0", "T2", "T4"), "pruned"), **dict.fromkeys(("T1", "T3"), "complete"), "T5": "diverged",
    }  # fmt: skip
    assert (summary["best"], summary["rungs"], summary["full"]) == ("T1", [0.5, 1.0, 3.0], 3.0)
    assert (trials["T1"]["score"], trials["T5"]["score"]) == (0.42, None)
    assert (summary["resource_trained"], summary["resource_without_pruning"]) == (3 + 3 + 1 + 0.5 * 3, 18.0)
    assert summary["training_seconds"] == 4 * summary["resource_trained"]
    assert (summary["finalists"], summary["seed_noise"], summary["pareto"]) == ([], None, None)


def test_only_a_trial_that_finished_wins(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [
        trained(run, space, "T0", {0.5: 0.6, 1.0: 0.5}, state=TrialState.RUNNING),
        make_trial("T1", space=space),
    ]
    searched[1].state = TrialState.WAITING
    summary = summarize(run, space, searched)
    assert (summary["best"], [trial["state"] for trial in summary["trials"]]) == (None, ["interrupted"] * 2)
    lines = printed(run, summary, capsys)
    assert "No trial finished, so there is no winner." in lines
    assert not any("below" in line or "not better" in line or "promote" in line for line in lines)


def test_a_trial_that_failed_after_it_had_reported_has_a_score_and_neither_rank_nor_crown(run: RunDirectory) -> None:
    space = make_space()
    good = trained(run, space, "T0", {0.5: 0.6, 1.0: 0.5, 3.0: 0.45})
    failed = trained(run, space, "T1", {0.5: 0.5, 1.0: 0.4, 3.0: 0.3}, TrialState.FAILED)
    failed.error = "OSError: its store has gone"
    summary = summarize(run, space, [good, failed])
    assert summary["best"] == "T0"
    assert [(trial["rank"], trial["score"]) for trial in summary["trials"]] == [(1, 0.45), (None, 0.3)]
    assert summarize(run, space, [failed])["best"] is None


def test_equal_scores_rank_nothing(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, f"T{number}", {0.5: 0.5, 1.0: 0.5, 3.0: 0.4}) for number in range(5)]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "Rung 0.5, 1: all scores are equal there or at rung 3, so nothing is ranked" in lines
    assert not any("too few" in line for line in lines)


def test_a_loss_that_is_lower_by_nothing_is_no_better() -> None:
    assert (
        worth(0.61 * 0.9999, BASELINES, BASELINE_NAMES)
        == "not better than the mean per position, which takes no training"
    )


def test_a_pair_has_a_column_of_its_own(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5})
    trial = make_trial("T0", make_report(3, 0.4, probe_top1=0.6, effective_rank=3.0), space=space)
    lines = printed(run, summarize(run, space, [trial]), capsys)
    assert "T0: 0.5 val_loss - 0.5 probe_top1 is -0.1000" in lines
    assert "-0.1000" in starting(lines, "1     T0")


def test_a_first_rung_that_ranks_at_random_is_said_to_be_too_short(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    ends = [0.40, 0.42, 0.44, 0.46, 0.48, 0.50, 0.52, 0.54]
    turned = list(reversed(ends))
    reports = [[make_report(0.5, turned[n]), make_report(1, ends[n]), make_report(3, ends[n])] for n in range(8)]
    searched = [make_trial(f"T{n}", *each, space=space) for n, each in enumerate(reports)]
    summary = summarize(run, space, searched)
    first, _ = summary["rung_correlations"]
    assert (first["rung"], first["deepest"], first["trials"], first["spearman"]) == (0.5, 3.0, 8, -1.0)
    lines = printed(run, summary, capsys)
    told = starting(lines, "Rank correlation with rung 3: -1.00 [")
    assert "] at rung 0.5 (8 trials), 1.00 [" in told and told.endswith("] at rung 1 (8 trials)")
    assert "the first rung is too short for this space: raise schedule.first_rung" in lines


def test_few_trials_tell_nothing_of_a_rung(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    lines = printed(run, summarize(run, space, search(run, space)), capsys)
    assert "Rung 0.5, 1: too few trials came to rung 3 to tell how well it ranks them" in lines
    assert not any("too short" in line for line in lines)


def test_two_objectives_have_a_front(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = {"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}
    space = make_space(against="parameters", schedule=schedule)
    made = {"T0": (0.40, 9000), "T1": (0.45, 1000), "T2": (0.46, 2000), "T3": (0.30, 10)}
    searched = [
        make_trial(name, make_report(1.0 if name == "T3" else 3.0, loss, student_parameters=size), space=space,
                    state=TrialState.PRUNED if name == "T3" else TrialState.COMPLETE)
        for name, (loss, size) in made.items()
    ]  # fmt: skip
    summary = summarize(run, space, searched)
    assert (summary["pareto"], summary["objective"]["against"]) == (["T0", "T1"], "parameters")
    lines = printed(run, summary, capsys)
    front = lines[lines.index("Beaten by none in both objectives:") + 1 :]
    assert [line.split() for line in front[2:4]] == [["T0", "0.4000", "9,500"], ["T1", "0.4500", "1,500"]]


@pytest.mark.parametrize(("unit", "spent"), [("tflops", "TFLOP"), ("seconds", "seconds")])
def test_the_resource_has_its_unit(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], unit: str, spent: str
) -> None:
    space = make_space(schedule={unit: 3000, "rungs": [500], "reports": 6})
    searched = [make_trial("T0", make_report(3000, 0.4), space=space)]
    searched.append(make_trial("T1", make_report(500, 0.5), space=space, state=TrialState.PAUSED))
    lines = printed(run, summarize(run, space, searched), capsys)
    assert spent in table_head(lines)
    assert f"3,500 {spent} of 6,000 {spent} had all 2 trials been trained to the end (58%)" in lines


def test_time_is_set_beside_what_was_spent_training(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    lines = printed(run, summary, capsys, concurrent=2)
    assert "time: 50 s; 34 s of training in all trials, 34% of the time of 2 workers" in lines
    assert "time: 50 s, with 34 s of training in all trials" in printed(run, summary, capsys)


def test_a_narrow_terminal_gets_whole_numbers_in_fewer_columns(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    summary["trials"][0] |= {"probe_top1": 0.4, "effective_rank": 9.0}
    monkeypatch.setattr(console, "_width", 54)
    lines = printed(run, summary, capsys)
    note = lines.index(starting(lines, "(too narrow for "))
    assert lines[note] == "(too narrow for effective_rank, val_r2, +-)"
    table = lines[lines.index(starting(lines, "rank")) - 1 : note]
    assert max(map(len, table)) <= 54
    assert not any("…" in line for line in table)
    assert {"val", "loss", "probe", "top1", "state"} <= {*table_head(lines)}


def test_a_probe_that_names_another_winner_is_told(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    made = {"T0": (0.4, 0.125), "T1": (0.5, 0.375)}
    searched = [
        make_trial(name, make_report(3.0, loss, probe_top1=probe), space=space) for name, (loss, probe) in made.items()
    ]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "the probe_top1 of T0 is 0.125; the best is T1's, 0.375" in lines


def test_a_winner_that_is_no_better_than_copying_is_told_so(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    for loss in (0.61, 0.63, 9.0):
        lines = printed(run, summarize(run, space, [trained(run, space, "T0", {3.0: loss})]), capsys)
        assert "T0 is not better than the mean per position, which takes no training" in lines
        assert "the only one that finished" in lines


def test_a_parameter_that_was_not_set_leaves_a_gap(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [make_trial("T0", make_report(3, 0.5), space=space, parameters={})]
    assert starting(printed(run, summarize(run, space, searched), capsys), "1     T0").split()[2] == "-"


def test_a_loss_stands_against_the_best_reference() -> None:
    assert worth(0.61 * 0.5, BASELINES, BASELINE_NAMES) == "50.0% below the best of them"
    others = {"training_mean": 0.4, "position_mean": 0.6}
    assert worth(0.5, others, BASELINE_NAMES).startswith("not better than the training mean")
    assert without_learning({"training_mean": 11.5, "own": 11.5}, BASELINE_NAMES).endswith("11.5000, own 11.5000")


def test_the_card_says_what_a_loss_is_worth(tmp_path: Path, videos: Path) -> None:
    final = RunDirectory(tmp_path / "run").final("T0", 4)
    final.path.mkdir(parents=True)
    last = {"val_loss": 0.305, "val_r2": 0.5, "effective_rank": 7.0, "student_parameters": 1000}
    searched = {"id": "T0", "epochs": 2.0, "val_loss": 0.5, "val_r2": 0.2, "probe_top1": None, "effective_rank": None}
    data = StoreDataset(build_store(tmp_path / "store", videos))
    write_card(find_task("salt"), final_spec(final, TrialConfig(epochs=4)), searched, last, data, BASELINES)
    card = final.card.read_text()
    assert "| training mean | 0.652 |\n| mean per position | 0.61 |\n| nearest visible token | 0.702 |\n" in card
    assert "the val_loss of this encoder and its predictor is 50.0% below the best of them." in card


def test_metrics_that_no_trial_has_take_no_column(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    heading = table_head(printed(run, summary, capsys))
    assert "r2" in heading
    assert not {"top1", "lidar"} & {*heading}

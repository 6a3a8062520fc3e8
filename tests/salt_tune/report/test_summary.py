"""The end of a search: what summary.json holds, what the console says of it, and what the card of its encoder does."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.run_directory.paths import RunDirectory, read_summary
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.report.conclusions import without_learning, worth
from salt_tune.report.leaderboard import print_summary
from salt_tune.report.model_card import write_card
from salt_tune.report.summary import write_summary
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from tests.salt_tune.made_trials import BASELINES, final_spec, make_report, make_space, make_trial, trained
from tests.small_store import build_store
from trainable.config import TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.evaluate.baselines import BASELINE_NAMES
from trainable.task import find_task

FIRST_LOSSES = (0.60, 0.55, 0.70, 0.58, 0.65)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "made")
    directory.path.mkdir()
    return directory


def summarize(run: RunDirectory, space: SearchSpace, searched: list[Trial]) -> dict[str, Any]:
    """Writes the summary, and returns what `read_summary` and the analysis both accept."""
    run.reports.touch()
    written = write_summary(
        run,
        space,
        searched,
        store={"path": "/stores/s"},
        baselines=BASELINES,
        seed=0,
        wall_seconds=50.0,
        over=True,
    )
    assert read_summary(run) == written
    assert analysis.load(run.path).best == written["best"]
    return written


def search(run: RunDirectory, space: SearchSpace) -> list[Trial]:
    """Six trials: T1 wins by far, T3 is close at the end, T5 diverges; the others stop at the first rung."""
    ends = {1: {0.5: 0.55, 1.0: 0.5, 3.0: 0.42}, 3: {0.5: 0.58, 1.0: 0.52, 3.0: 0.45}, 4: {0.5: 0.65, 1.0: 0.6}}
    searched = [
        trained(
            run,
            space,
            f"T{number}",
            ends.get(number, {0.5: loss}),
            TrialState.COMPLETE if number in (1, 3) else TrialState.PAUSED,
        )
        for number, loss in enumerate(FIRST_LOSSES)
    ]
    lost = make_trial("T5", make_report(0.5, None, status="diverged"), space=space, state=TrialState.DIVERGED)
    return [*searched, lost]


def by_id(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trial["id"]: trial for trial in summary["trials"]}


def printed(run: RunDirectory, summary: dict[str, Any], capsys: pytest.CaptureFixture[str], **how: Any) -> list[str]:
    capsys.readouterr()
    print_summary(run, summary, **how)
    return [text.strip() for text in capsys.readouterr().out.splitlines()]


def starting(lines: list[str], start: str) -> str:
    (line,) = [line for line in lines if line.startswith(start)]
    return line


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


def test_each_trial_meets_the_winner_at_the_deepest_rung_of_both(run: RunDirectory) -> None:
    space = make_space()
    trials = by_id(summarize(run, space, search(run, space)))
    met = {name: trial["against_winner"] for name, trial in trials.items()}
    assert met["T1"] is None and met["T5"] is None
    assert {name: found["rung"] for name, found in met.items() if found} == {"T0": 0.5, "T2": 0.5, "T3": 3.0, "T4": 1.0}
    assert met["T3"]["difference"] == pytest.approx(0.03)
    assert 0 < met["T3"]["low"] < 0.03 < met["T3"]["high"]
    assert met["T4"]["difference"] == pytest.approx(0.1)


def test_a_file_of_clip_losses_that_rotted_costs_one_comparison_and_no_search(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    searched = search(run, space)
    run.clip_losses("T3", 3.0).write_bytes(b"rotten")
    trials = by_id(summarize(run, space, searched))
    assert trials["T3"]["against_winner"]["rung"] == 1.0
    assert str(run.clip_losses("T3", 3.0)) in starting(capsys.readouterr().out.splitlines(), "warning")


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


def test_the_winner_is_set_beside_its_closest_rivals(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    lines = printed(run, summarize(run, space, search(run, space)), capsys)
    after = lines[lines.index("Winner: T1  lr 0.001") + 1 :]
    assert after[1] == "Without learning: training mean 0.6520, mean per position 0.6100, nearest visible token 0.7020"
    assert after[2] == "T1 is 31.1% below the best of them"
    assert after[3].startswith("better than T3 by 0.0300 [0.02")
    assert after[3].endswith("] (95%, clip by clip, one seed each)")
    assert after[4].startswith("better than T4 by 0.1000 [") and after[4].endswith("] after 1 epoch")
    assert after[5].startswith("better than T0 by 0.0500 [") and after[5].endswith("] after 0.5 epochs")
    assert not any("T2 by" in line for line in lines)


def test_those_that_cannot_be_told_apart_are_told_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: loss}) for name, loss in (("T0", 0.420), ("T1", 0.4201))]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "which is 0.0001 [-0.00" in starting(lines, "cannot be told from T1")


def test_trials_that_are_equal_on_every_clip_are_told_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: 0.42}) for name in ("T0", "T1", "T2")]
    shutil.copy(run.clip_losses("T0", 3.0), run.clip_losses("T1", 3.0))
    summary = summarize(run, space, searched)
    lines = printed(run, summary, capsys)
    assert "equal to T1 on every clip" in lines
    assert starting(lines, "cannot be told from T2").endswith("(95%, clip by clip, one seed each)")


INTERVALS = [
    ((0.0, 0.0, 0.0), "equal to T1 on every clip"),
    ((1e-6, 2e-7, 2e-6), "equal to T1 to 4 decimals"),
    ((-1e-6, -2e-6, -2e-7), "equal to T1 to 4 decimals"),
    ((1e-6, 1e-6, 1e-6), "equal to T1 to 4 decimals"),
    ((0.01, 0.01, 0.01), "better than T1 by 0.0100 [0.0100, 0.0100]"),
    ((1e-4, 2e-5, 2e-4), "better than T1 by 0.00010 [0.00002, 0.00020]"),
    ((0.5, 1e-12, 1.0), "cannot be told from T1, which is 0.5000 [0.0000, 1.0000] behind"),
    ((-1e-4, -2e-4, -2e-5), "not as good as T1, by 0.00010 [0.00002, 0.00020]"),
    ((-0.02, -0.03, -0.01), "not as good as T1, by 0.0200 [0.0100, 0.0300]"),
    ((-1e-6, -0.01, 0.01), "cannot be told from T1, which is 0.0000 [-0.0100, 0.0100] behind"),
    ((1e-6, -1e-6, 0.01), "cannot be told from T1, which is 0.0000 [0.0000, 0.0100] behind"),
    ((0.01, 0.0, 0.02), "cannot be told from T1, which is 0.0100 [0.0000, 0.0200] behind"),
]


@pytest.mark.parametrize(("interval", "words"), INTERVALS)
def test_an_interval_never_says_that_nothing_is_something(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], interval: tuple[float, float, float], words: str
) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: loss}) for name, loss in (("T0", 0.42), ("T1", 0.43))]
    summary = summarize(run, space, searched)
    difference, low, high = interval
    by_id(summary)["T1"]["against_winner"] |= {"difference": difference, "low": low, "high": high}
    assert any(
        line.removesuffix(" (95%, clip by clip, one seed each)") == words for line in printed(run, summary, capsys)
    )


def test_seeds_that_are_equal_are_told_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: 0.42}) for name in ("T0", "T1")]
    searched += [trained(run, space, f"{name}-seed1", {3.0: 0.42}, replicate_of=name) for name in ("T0", "T1")]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "over seeds, equal to T1 (2 seeds) with every seed" in lines


def test_equal_scores_rank_nothing(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, f"T{number}", {0.5: 0.5, 1.0: 0.5, 3.0: 0.4}) for number in range(5)]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "Rung 0.5: all scores are equal there or at rung 3, so nothing is ranked" in lines
    assert not any("too few" in line for line in lines)


def test_a_loss_that_is_lower_by_nothing_is_no_better() -> None:
    assert (
        worth(0.61 * 0.9999, BASELINES, BASELINE_NAMES)
        == "not better than the mean per position, which takes no training"
    )


def test_the_interval_is_said_to_be_of_the_loss_where_that_is_not_the_objective(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space(objective="probe_top1")
    searched = [trained(run, space, name, {3.0: loss}) for name, loss in (("T0", 0.40), ("T1", 0.50))]
    for trial, top1 in zip(searched, (0.2, 0.6), strict=True):
        trial.metrics |= {"probe_top1": top1, "effective_rank": 3.0}
        trial.scores[3.0] = -top1
    summary = summarize(run, space, searched)
    assert (summary["best"], summary["objective"]["mode"], by_id(summary)["T1"]["score"]) == ("T1", "max", -0.6)
    lines = printed(run, summary, capsys)
    assert "probe_top1 is 0.6000" in lines
    assert "not as good as T0, by 0.1000 [" in starting(lines, "in val_loss, ")


def test_a_pair_has_a_column_of_its_own(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5})
    trial = make_trial("T0", make_report(3, 0.4, probe_top1=0.6, effective_rank=3.0), space=space)
    lines = printed(run, summarize(run, space, [trial]), capsys)
    assert "0.5 val_loss - 0.5 probe_top1 is -0.1000" in lines
    assert "-0.1000" in starting(lines, "1     T0")


def test_replicates_settle_who_wins(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    losses = {"T0": 0.420, "T1": 0.422, "T2": 0.430, "T3": 0.500}
    searched = [trained(run, space, name, {3.0: loss}) for name, loss in losses.items()]
    for name, loss in (("T0", 0.440), ("T1", 0.424), ("T2", 0.432)):
        searched.append(trained(run, space, f"{name}-seed1", {3.0: loss}, replicate_of=name, seed=1))
    summary = summarize(run, space, searched)
    assert summary["best"] == "T1"
    assert [finalist["id"] for finalist in summary["finalists"]] == ["T1", "T0", "T2"]
    trials = by_id(summary)
    assert [trials[name]["rank"] for name in ("T1", "T0", "T2", "T3", "T0-seed1")] == [1, 2, 3, 4, None]
    assert (trials["T0-seed1"]["replicate_of"], trials["T0-seed1"]["seed"]) == ("T0", 1)
    assert (summary["seed_noise"]["replicates"], summary["seed_noise"]["trials"]) == (3, 4)
    lines = printed(run, summary, capsys)
    assert starting(lines, "over 2 seeds: val_loss 0.4230 [").endswith("] (95%)")
    assert starting(lines, "over seeds, cannot be told from T0 (2 seeds), which is 0.0070 [")
    seeds = starting(lines, "Seeds: sd 0.0082 between seeds of a configuration (3 replicates), 0.0")
    assert seeds.endswith(" between the 4 configurations that finished")
    table = [line.split()[1] for line in lines if line[:1] in "1234-" and " T" in line]
    assert table == ["T1", "T1-seed1", "T0", "T0-seed1", "T2", "T2-seed1", "T3"]


def test_a_seed_that_was_lost_costs_the_win_and_one_that_failed_does_not(run: RunDirectory) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: loss}) for name, loss in (("T0", 0.40), ("T1", 0.41), ("T2", 0.42))]
    lost = make_report(1.0, None, status="diverged")
    searched.append(make_trial("T0-seed1", lost, space=space, state=TrialState.DIVERGED, replicate_of="T0"))
    searched.append(trained(run, space, "T1-seed1", {1.0: 0.5}, state=TrialState.FAILED, replicate_of="T1"))
    searched.append(trained(run, space, "T2-seed1", {3.0: 0.42}, replicate_of="T2"))
    summary = summarize(run, space, searched)
    assert [(each["id"], each["seeds"]) for each in summary["finalists"]] == [("T1", 1), ("T2", 2), ("T0", 2)]
    assert summary["best"] == "T1"


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
    assert starting(lines, "Rung 0.5: rank correlation -1.00 [").endswith("with rung 3 over 8 trials")
    assert starting(lines, "Rung 1: rank correlation 1.00 [").endswith("with rung 3 over 8 trials")
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
    assert spent in lines[1].split()
    assert f"Cost: 3,500 {spent} of 6,000 {spent} had all 2 trials been trained to the end (58%)" in lines


def test_time_is_set_beside_what_was_spent_training(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    lines = printed(run, summary, capsys, concurrent=2)
    assert "Time: 50 s; 34 s of training in all trials, 34% of the time of 2 workers" in lines
    assert "Time: 50 s, with 34 s of training in all trials" in printed(run, summary, capsys)


def test_a_narrow_terminal_gets_whole_numbers_in_fewer_columns(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make_space()
    summary = summarize(run, space, search(run, space))
    summary["trials"][0] |= {"probe_top1": 0.4, "effective_rank": 9.0}
    monkeypatch.setattr(console, "_width", 54)
    lines = printed(run, summary, capsys)
    note = lines.index("(too narrow for effective_rank, val_r2, +-)")
    assert max(map(len, lines[:note])) <= 54
    assert not any("…" in line for line in lines[:note])
    assert {"val", "loss", "probe", "top1", "state"} <= {*" ".join(lines[:2]).split()}


def test_a_probe_that_names_another_winner_is_told(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    made = {"T0": (0.4, 0.125), "T1": (0.5, 0.375)}
    searched = [
        make_trial(name, make_report(3.0, loss, probe_top1=probe), space=space) for name, (loss, probe) in made.items()
    ]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "its probe_top1 is 0.125; the best is T1's, 0.375" in lines


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
    heading = " ".join(printed(run, summary, capsys)[:2]).split()
    assert "r2" in heading
    assert not {"top1", "lidar"} & {*heading}

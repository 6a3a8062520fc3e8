"""The winner beside its rivals: what a summary holds, and the words for it."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis.run_directory.events import RoundStarted
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from tests.salt_tune.made_trials import make_report, make_space, make_trial, trained
from tests.salt_tune.summaries import ALIKE, by_id, many, printed, search, starting, summarize


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "made")
    directory.path.mkdir()
    return directory


def test_each_trial_meets_the_winner_at_the_deepest_rung_of_both(run: RunDirectory) -> None:
    space = make_space()
    trials = by_id(summarize(run, space, search(run, space)))
    met = {name: trial["against_winner"] for name, trial in trials.items()}
    assert met["T1"] is None and met["T5"] is None
    assert {name: found["rung"] for name, found in met.items() if found} == {"T0": 0.5, "T2": 0.5, "T3": 3.0, "T4": 1.0}
    assert met["T3"]["difference"] == pytest.approx(0.03)
    assert 0 < met["T3"]["low"] < 0.03 < met["T3"]["high"]
    assert met["T4"]["difference"] == pytest.approx(0.1)
    assert {name: str(found["conclusion"]) for name, found in met.items() if found} == {
        "T3": "behind on these clips", **dict.fromkeys(("T0", "T2", "T4"), "compared at an earlier rung"),
    }  # fmt: skip


def test_a_file_of_clip_losses_that_rotted_costs_one_comparison_and_no_search(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    searched = search(run, space)
    run.clip_losses("T3", 3.0).write_bytes(b"rotten")
    trials = by_id(summarize(run, space, searched))
    assert trials["T3"]["against_winner"]["rung"] == 1.0
    assert str(run.clip_losses("T3", 3.0)) in starting(capsys.readouterr().err.splitlines(), "warning")


def test_losses_of_other_clips_are_not_compared(run: RunDirectory) -> None:
    space = make_space()
    searched = [trained(run, space, name, {1.0: 0.5, 3.0: loss}) for name, loss in (("T0", 0.4), ("T1", 0.45))]
    searched.append(trained(run, space, "T1-seed1", {3.0: 0.45}, replicate_of="T1"))
    for name in ("T1", "T1-seed1"):
        losses = pq.read_table(run.clip_losses(name, 3.0))
        pq.write_table(losses.slice(0, 60), run.clip_losses(name, 3.0))
    summary = summarize(run, space, searched)
    assert by_id(summary)["T1"]["against_winner"]["conclusion"] == "compared at an earlier rung"
    assert [finalist["seeds"] for finalist in summary["finalists"]] == [1, 2]


def test_the_winner_is_set_beside_its_closest_rivals(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    lines = printed(run, summarize(run, space, search(run, space)), capsys)
    assert "Promote T1  lr 0.001" in lines
    after = lines[lines.index("LOSSES") + 1 :]
    assert after[1] == "Without learning: training mean 0.6520, mean per position 0.6100, nearest visible token 0.7020"
    assert after[2] == "T1 is 31.1% below the best of them"
    assert after[3].startswith("ahead of T3 on these clips by 0.0300 [0.02")
    assert after[3].endswith("] (95% over clips, as the best of 2; seeds are not counted)")
    assert after[4].startswith("T4 was 0.1000 [") and after[4].endswith("] behind after 1 epoch (95%, clip by clip)")
    assert after[5].startswith("T0 was 0.0500 [") and after[5].endswith("] behind after 0.5 epochs")
    assert not any("T2 was" in line or "better than T" in line for line in lines)
    assert starting(lines, "Seeds: not counted")


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
    assert starting(lines, "cannot be told from T2").endswith(
        "(95% over clips, as the best of 3; seeds are not counted)"
    )


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
    conclusion = "worse" if low > 0 else "better" if high < 0 else "tied"
    told = {"difference": difference, "low": low, "high": high, "seed_error": 0.01, "conclusion": conclusion}
    by_id(summary)["T1"]["against_winner"] |= told
    lines = [
        line.removesuffix(" (95% over clips and seeds, as the best of 2)") for line in printed(run, summary, capsys)
    ]
    assert words in lines


def test_seeds_that_are_equal_are_told_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [trained(run, space, name, {3.0: 0.42}) for name in ("T0", "T1")]
    searched += [trained(run, space, f"{name}-seed1", {3.0: 0.42}, replicate_of=name) for name in ("T0", "T1")]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert any(line.startswith("cannot be told from T1, which is 0.0000 [") for line in lines)
    assert starting(lines, "Seeds: sd 0.0000 between seeds of a configuration (2 replicates)")


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
    assert "T1: probe_top1 is 0.6000" in lines
    assert "behind T0 on these clips by 0.1000 [" in starting(lines, "in val_loss, ")


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
    noise = summary["seed_noise"]
    assert (noise["source"], noise["degrees"], noise["trials"], noise["rung"]) == ("replicates", 3, 4, 3.0)
    assert summary["tied"] == ["T1", "T0", "T2"]
    assert [name for name, trial in trials.items() if trial["against_winner"]] == ["T0", "T2", "T3"]
    lines = printed(run, summary, capsys)
    assert starting(lines, "over 2 seeds: val_loss 0.4230 [").endswith("] (95%)")
    assert starting(lines, "cannot be told from T0, which is 0.0070 [").endswith(
        "over clips and seeds, as the best of 4)"
    )
    assert starting(lines, "better than T3 by 0.0770 [")
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
    assert by_id(summary)["T0"]["against_winner"] is None


def test_over_seeds_another_objective_is_compared_without_the_clips(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space(objective="probe_top1")
    searched = [
        make_trial(name, make_report(3.0, 0.4, probe_top1=top1), space=space, replicate_of=original)
        for name, original, top1 in (
            ("T0", None, 0.70), ("T1", None, 0.60), ("T0-seed1", "T0", 0.71), ("T1-seed1", "T1", 0.59),
        )
    ]  # fmt: skip
    lines = printed(run, summarize(run, space, searched), capsys)
    assert starting(lines, "over 2 seeds: probe_top1 0.7050 [")
    words = starting(lines, "over seeds, ahead of T1 (2 seeds) on these clips by 0.1100 [")
    assert words.endswith("(95% over seeds, as the best of 2; clips are not counted)")


def test_similar_configurations_tell_of_seeds_before_there_are_replicates(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    summary = summarize(run, space, many(run, space, (0.40, *ALIKE)))
    noise = summary["seed_noise"]
    assert (noise["source"], noise["degrees"], noise["rung"]) == ("similar configurations", 4, 3.0)
    assert noise["within_sd"] < 0.001 and summary["tied"] == ["T0"]
    lines = printed(run, summary, capsys)
    assert "from 4 pairs of similar configurations at rung 3; --replicates N" in starting(lines, "Seeds: sd 0.0")
    assert starting(lines, "better than T1 by 0.1000 [").endswith("(95% over clips and seeds, as the best of 9)")


def test_a_look_before_costs_width(run: RunDirectory) -> None:
    space = make_space()
    searched = many(run, space, (0.40, *ALIKE))
    rounds = [RoundStarted(number, {"T0": 2 + number}, "tied") for number in (0, 1)]
    once = summarize(run, space, searched, rounds[:1], [1])
    raced = summarize(run, space, searched, rounds[:1], ["auto"])
    again = summarize(run, space, searched, rounds, [1, 1])
    assert [each["level"] for each in (once, raced, again)] == pytest.approx([0.05, 0.0375, 0.0375])
    lows = [by_id(each)["T1"]["against_winner"]["low"] for each in (once, raced, again)]
    assert lows[0] > lows[1] == lows[2]
    assert raced["rounds"] == [{"request": 0, "seeds": {"T0": 2}, "reason": "tied"}]


# --- the user's own start


def test_a_start_that_is_not_beaten_is_said_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    for losses, better in (((0.4, 0.5, 0.5), False), ((0.4001, 0.4, 0.5), False), ((0.45, 0.4, 0.5), None)):
        summary = summarize(run, space, many(run, space, losses, origin="start_from"))
        assert summary["better_than_start"] is better
        lines = printed(run, summary, capsys)
        assert any(line.endswith(": the search found nothing better") for line in lines) == (better is False)
        assert starting(lines, "* your own start, from start_from")
        assert any(" T0* " in line for line in lines) and not any("T1*" in line for line in lines)


def test_a_start_that_is_beaten_is_said_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = many(run, space, (0.50, *ALIKE, *ALIKE, 0.2), origin="start_from")
    summary = summarize(run, space, searched)
    assert summary["better_than_start"] is True
    assert "better than your start, T0" in printed(run, summary, capsys)


def test_a_start_that_was_stopped_is_not_judged(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    early = trained(run, space, "T0", {0.5: 0.6}, TrialState.PAUSED, origin="start_from")
    summary = summarize(run, space, [early, trained(run, space, "T1", {0.5: 0.5, 3.0: 0.4})])
    assert summary["better_than_start"] is None
    assert not any("your start" in line for line in printed(run, summary, capsys))

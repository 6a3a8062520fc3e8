"""What a summary says first: whether there is anything to promote."""

from pathlib import Path

import pytest

from analysis.run_directory.paths import RunDirectory
from tests.salt_tune.made_trials import make_space
from tests.salt_tune.summaries import by_id, many, printed, starting, summarize


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "made")
    directory.path.mkdir()
    return directory


def test_an_unfit_trial_with_the_lowest_loss_does_not_win(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    searched = many(run, space, (0.40, 0.41, 0.45))
    for trial, verdict in zip(searched, ("collapsed", "better than untrained", "not shown to be better"), strict=True):
        trial.metrics["verdict"] = verdict
    summary = summarize(run, space, searched)
    assert (summary["best"], summary["nothing_to_promote"]) == ("T1", False)
    assert [by_id(summary)[f"T{number}"]["rank"] for number in range(3)] == [3, 1, 2]
    assert "T0" not in summary["tied"] and by_id(summary)["T0"]["verdict"] == "collapsed"
    lines = printed(run, summary, capsys)
    assert summary["recommended"] == "T1" and starting(lines, "Promote T1")
    assert "its encoder is better than untrained" in lines
    assert "T0 has a better val_loss, but cannot win: collapsed" in lines


def test_where_all_are_unfit_nothing_is_to_be_promoted(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = many(run, space, (0.40, 0.41))
    for trial in searched:
        trial.metrics["verdict"] = "worse than untrained"
    summary = summarize(run, space, searched)
    assert (summary["best"], summary["nothing_to_promote"]) == ("T0", True)
    lines = printed(run, summary, capsys)
    assert lines[2].startswith("Promote nothing: ")
    assert "of 2 complete trials, 2 worse than untrained" in lines
    after = lines[lines.index("NEXT") + 1]
    assert "salt_tune.promote" in after and after.endswith("--anyway  (in spite of the verdict)")

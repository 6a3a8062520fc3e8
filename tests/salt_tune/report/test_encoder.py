"""Whether the winner is a good encoder: its probe beside the baselines, and what breaks ties."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.made_trials import make_space, trained
from tests.salt_tune.summaries import by_id, printed, starting, summarize


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "made")
    directory.path.mkdir()
    return directory


def probed(run: RunDirectory, space: SearchSpace, name: str, loss: float, above: float, **fields: Any) -> Trial:
    """A complete trial whose probe is so much better than that of untrained encoders."""
    trial = trained(run, space, name, {3.0: loss})
    panel = {"probe_top1": 0.2 + above, "above_untrained": above}
    ends = {
        f"{field}_{end}": value + by for field, value in panel.items() for end, by in (("low", -0.1), ("high", 0.1))
    }
    verdict = "better than untrained" if above > 0.1 else "worse than untrained" if above < -0.1 else None
    trial.metrics |= {**panel, **ends, "verdict": verdict or "not shown to be better", **fields}
    return trial


def write_baselines(run: RunDirectory, teacher: float = 0.32) -> None:
    """What the baselines of the default student get, and those of another one."""
    run.baselines.mkdir()
    for number, student in enumerate(("vit_base_patch16_224", "vit_tiny_patch16_224")):
        panel = {"teacher": teacher, "untrained": 0.2 + number, "pixels": 0.19, "chance": 0.125}
        content = {
            "architecture": {"student": student},
            "baselines": {name: {"probe_top1": value} for name, value in panel.items()},
        }
        (run.baselines / f"{number}.json").write_text(json.dumps(content))


def test_ties_are_broken_by_the_features(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    searched = [
        probed(run, space, "T0", 0.420, 0.02, effective_rank=9.0),
        probed(run, space, "T1", 0.4201, 0.2, effective_rank=12.0),
        probed(run, space, "T2", 0.6, 0.5, effective_rank=30.0),
    ]
    summary = summarize(run, space, searched)
    assert (summary["best"], summary["tied"], summary["recommended"]) == ("T0", ["T0", "T1"], "T1")
    lines = printed(run, summary, capsys)
    assert starting(lines, "Promote T1")
    told = "tied in val_loss with T0, of which T0 is ahead; its effective_rank is the highest of them"
    assert told in lines
    assert "its encoder is better than untrained, by 20.0 points [10.0, 30.0]" in lines


def test_accuracies_stand_beside_those_of_the_baselines(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space(fixed={"student": "vit_base_patch16_224"})
    write_baselines(run)
    summary = summarize(run, space, [probed(run, space, "T0", 0.42, 0.2)])
    lines = printed(run, summary, capsys)
    start = lines.index("GOOD ENCODER?")
    bars = [line.split("#")[0].strip() for line in lines[start + 2 : start + 7]]
    assert bars == ["T0", "teacher's latents", "untrained", "raw pixels", "chance"]
    assert lines[start + 2].endswith("40.0%  30 to 50") and lines[start + 6].endswith("12.5%")
    assert lines[start + 2].count("#") == round(24 * 0.4)


def test_what_may_have_gone_wrong_is_said_where_nothing_is_worth_promoting(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space(fixed={"student": "vit_base_patch16_224"})
    write_baselines(run, teacher=0.1)
    searched = [probed(run, space, "T0", 0.4, -0.2, step=120), probed(run, space, "T1", 0.5, 0, verdict="collapsed")]
    lines = printed(run, summarize(run, space, searched), capsys)
    assert "of 2 complete trials, 1 worse than untrained, 1 collapsed" in lines
    for start in (
        "the teacher: its latents tell no more",
        "the learning rate: ",
        "the length: a full trial makes 120 ",
    ):
        assert starting(lines, start)


def test_a_search_without_a_panel_says_nothing_of_it(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    space = make_space()
    summary = summarize(run, space, [trained(run, space, "T0", {3.0: 0.4})])
    assert (summary["recommended"], summary["panel_baselines"]) == ("T0", [])
    assert "GOOD ENCODER?" not in printed(run, summary, capsys)


def test_a_damaged_file_of_baselines_is_named_and_ends_nothing(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    space = make_space()
    run.baselines.mkdir()
    (run.baselines / "a.json").write_text("{")
    summary = summarize(run, space, [probed(run, space, "T0", 0.4, 0.2)])
    assert summary["panel_baselines"] == [] and by_id(summary)["T0"]["probe_top1_low"] == pytest.approx(0.3)
    assert starting(capsys.readouterr().err.splitlines(), f"warning: {run.baselines / 'a.json'}: is damaged")

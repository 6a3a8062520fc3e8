"""What the steps of trainings came to, and the held-out loss by time slot, as tables."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import RunError, load
from analysis.run_directory.paths import RunDirectory
from tests.analysis.fake_run import write_run

STEPS = {"step": [3, 6], "steps": [3, 3], "epoch": [0.5, 1.0], "train_loss": [0.9, 0.6], "grad_norm": [2.0, 1.0],
         "clipped_share": [1.0, 0.0], "lr": [1e-4, 3e-4]}  # fmt: skip
COLUMNS = ["step", "steps", "epoch", "train_loss", "grad_norm", "clipped_share", "step_lr"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of which two trials and a promoted run have files of their steps, and a report losses by time slot."""
    made = write_run(tmp_path / "run")
    for path in (made.steps("T2"), made.steps("T10"), made.final("T2", 10).steps):
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(STEPS).to_parquet(path)
    clips = {"clip": ["a", "b", "c"], "loss": [0.2, 0.3, 0.4]}
    slots = {"time_slot_losses": [[0.1, None], [0.2, 0.4], [0.3, 0.5]]}
    pd.DataFrame({**clips, **slots}).to_parquet(made.clip_losses("T2", 3.0))
    return made


def test_steps_are_rows_of_their_trial(run: RunDirectory) -> None:
    steps = load(run.path).steps()
    assert [*steps.columns] == ["trial", *COLUMNS]
    assert steps["trial"].tolist() == ["T2", "T2", "T10", "T10"]
    assert steps["step_lr"].tolist() == [1e-4, 3e-4] * 2 and str(steps["step"].dtype) == "int64"
    assert len(load(run.path).steps("T10")) == 2 and load(run.path).steps("T0").empty
    with pytest.raises(RunError, match="trial 'T99': must be one of T0, "):
        load(run.path).steps("T99")


def test_those_of_a_promoted_run_have_its_name(run: RunDirectory) -> None:
    assert load(run.path).final_steps()["promotion"].tolist() == ["T2-10epochs"] * 2
    both = load([run.path, run.path]).final_steps()
    assert [*both.columns] == ["run", "promotion", *COLUMNS]


def test_a_run_without_them_has_none(tmp_path: Path) -> None:
    loaded = load(write_run(tmp_path / "run").path)
    for table in (loaded.steps(), loaded.final_steps(), loaded.time_slot_losses()):
        assert table.empty
    assert loaded.steps().dtypes.astype(str).tolist() == ["str", "int64", "int64", *["float64"] * 5]


@pytest.mark.parametrize("broken", ["bytes", "column"])
def test_a_broken_file_is_named(run: RunDirectory, broken: str) -> None:
    if broken == "bytes":
        run.steps("T2").write_bytes(b"x")
    else:
        pd.DataFrame({"step": [1]}).to_parquet(run.steps("T2"))
    with pytest.raises(RunError, match=r"T2\.parquet: cannot be read, and must hold the steps of a training"):
        load(run.path).steps()


def test_the_loss_by_time_slot_is_of_the_clips_that_have_tokens_there(run: RunDirectory) -> None:
    slots = load(run.path).time_slot_losses("T2", 3.0)
    assert slots["time_slot"].tolist() == [0, 1] and slots["clips"].tolist() == [3, 2]
    assert slots["loss"].tolist() == pytest.approx([0.2, 0.45])
    assert slots["loss_se"].tolist() == pytest.approx([0.1 / 3**0.5, 0.05])
    assert load(run.path).time_slot_losses()["trial"].unique().tolist() == ["T2"]  # others keep no such losses
    assert load([run.path]).time_slot_losses()["run"].unique().tolist() == ["run"]


def test_losses_by_time_slot_that_are_none_are_named(run: RunDirectory) -> None:
    pd.DataFrame({"clip": ["a", "b"], "loss": [0.2, 0.3], "time_slot_losses": [[0.1], [0.1, 0.2]]}).to_parquet(
        run.clip_losses("T2", 3.0)
    )
    with pytest.raises(RunError, match="must hold a list of losses a clip"):
        load(run.path).time_slot_losses("T2", 3.0)

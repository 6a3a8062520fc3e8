"""The run directory: where everything lies."""

import subprocess
import sys
from pathlib import Path

import pytest

from salt_tune.run import RunDirectory

ROOT = Path(__file__).parents[2]


def test_paths_are_absolute_and_within_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("runs/r")
    paths = [run.manifest, run.space, run.reports, run.summary, run.ray, run.clip_losses("T3", 0.25)]
    paths += [run.final("T3", 10).card, run.final("T3", 10).encoder]
    for path in paths:
        assert path.is_relative_to(tmp_path / "runs" / "r")
    assert len(set(paths)) == len(paths)


def test_every_report_and_promotion_has_a_place_of_its_own(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    epochs = [step / 96 for step in range(1, 97)]
    assert len({run.clip_losses(trial, epoch) for trial in ("T0", "T1") for epoch in epochs}) == 2 * len(epochs)
    assert len({run.final(trial, epochs).path for trial in ("T0", "T1") for epochs in (10, 20)}) == 4


def test_a_finished_run_lies_where_it_is_said_to(finished_run: Path) -> None:
    run = RunDirectory(finished_run)
    for path in (run.manifest, run.space, run.reports, run.summary, run.ray, run.clip_losses("T0", 1.0)):
        assert path.exists(), path


def test_the_module_does_without_ray_torch_and_numpy() -> None:
    program = "import sys, salt_tune.run; print(*sorted({'ray', 'torch', 'numpy', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

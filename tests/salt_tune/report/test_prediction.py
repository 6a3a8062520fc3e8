"""What the curves of a search say of a longer run."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.paths import RunDirectory
from salt_tune.report.prediction import predict_loss
from tests.salt_tune import controlled
from tests.salt_tune.controlled import World
from tests.salt_tune.made_trials import make_report, make_space


def test_reports_a_step_beside_their_rung_tell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def early(point: float, loss: float | None, **more: Any) -> dict[str, Any]:
        return make_report(point, loss, **{**more, "epoch": 0.98 * point})

    monkeypatch.setattr(os, "fsync", lambda _: None)  # no waiting for the disk
    monkeypatch.setattr(controlled, "make_report", early)
    world = World(make_space(trials=6, schedule={"epochs": 3, "rungs": [0.5, 1], "reports": 6}))
    controller = world.controller(tmp_path)
    world.run(controller)
    ended = next(trial for trial in controller.trials.values() if trial.state == "complete")
    told = predict_loss(RunDirectory(tmp_path), world.space, ended.id, 9.0)
    assert told is not None and told.low < told.loss < told.high and math.isfinite(told.high - told.low)
    assert predict_loss(RunDirectory(tmp_path), world.space, "T99", 9.0) is None

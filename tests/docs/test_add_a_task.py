"""The files that docs/howto/add-a-task.md tells to write are a task and a space of it."""

import json
import re
import sys
from pathlib import Path

import pytest

from salt_tune.space.space_file import load_space
from tests.conftest import ROOT
from trainable.budget import Budget
from trainable.worker import RunSpec, TrialSpec


def test_the_task_of_the_page_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "howto" / "add-a-task.md").read_text(encoding="utf-8")
    for file, language in (("line_task.py", "python"), ("line.yaml", "yaml")):
        (written,) = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
        (tmp_path / file).write_text(written, encoding="utf-8")
    (tmp_path / "points.json").write_text(json.dumps([[x / 10, 2 * x / 10 + 1] for x in range(10)]), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "line_task", raising=False)

    space = load_space(str(tmp_path / "line.yaml"), {})
    task = space.task
    data = task.open_data(tmp_path)
    assert data.train_size == len(data.held_out) == 5 and task.same_data[0] in data.facts()
    points = [*space.schedule.report_points()]
    run = RunSpec(task.name, str(tmp_path), space.evaluation, Budget("epoch", 3.0, points), str(tmp_path), "", 1, "cpu")
    losses: list[float] = []
    for _ in points:  # each in a worker of its own, as after a kill
        trial = task.open_worker(run).start(
            TrialSpec("T0", space.config({"lr": 0.5}, 0), points[len(losses) - 1] if losses else 0.0)
        )
        losses.append(trial.next_report()["val_loss"])
    assert trial.next_report()["status"] == "complete"
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-3 < losses[0]

"""The run directory: where everything lies, and that of another format is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import RunError
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory, read_manifest, read_summary
from tests.conftest import ROOT


def test_paths_are_absolute_and_within_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("runs/r")
    paths = [run.manifest, run.space, run.lock, run.reports, run.decisions, run.study, run.summary, run.errors]
    paths += [
        run.clip_losses("T3", 0.25),
        run.answers("T3", 0.25),
        run.baselines,
        run.checkpoint("T3"),
        run.final("T3", 10).card,
        run.final("T3", 10).config,
    ]
    for path in paths:
        assert path.is_relative_to(tmp_path / "runs" / "r")
    assert len(set(paths)) == len(paths)


def test_every_report_and_promotion_has_a_place_of_its_own(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    points = [step / 96 for step in range(1, 97)]
    assert len({run.clip_losses(trial, point) for trial in ("T0", "T1") for point in points}) == 2 * len(points)
    assert run.clip_losses("T0", 0.25) == tmp_path / "clip_losses" / "T0" / "resource-0.2500.parquet"
    assert run.answers("T0", 0.25) == tmp_path / "answers" / "T0" / "resource-0.2500.parquet"
    assert len({run.final(trial, epochs).path for trial in ("T0", "T1") for epochs in (10, 10.5, 20)}) == 6
    assert run.final("T0", 10.0).path == run.final("T0", 10).path == tmp_path / "final" / "T0-10epochs"


@pytest.mark.parametrize(("name", "read"), [("run.json", read_manifest), ("summary.json", read_summary)])
def test_another_format_is_refused_in_a_line(
    tmp_path: Path, name: str, read: Callable[[RunDirectory], dict[str, Any]]
) -> None:
    run, path = RunDirectory(tmp_path / "r"), tmp_path / "r" / name
    with pytest.raises(RunError, match="no such run"):
        read(run)
    run.path.mkdir()
    with pytest.raises(RunError, match=f"has no {name}"):
        read(run)
    for broken in ('{"trials": ', "[]", "{}"):
        path.write_text(broken)
        with pytest.raises(RunError, match="not written by a search"):
            read(run)
    path.write_text('{"format_version": 1}')
    with pytest.raises(RunError) as refused:
        read(run)
    assert str(refused.value) == f"{path}: has format_version 1, and this version of salt_tune reads {FORMAT_VERSION}"
    content = {"format_version": FORMAT_VERSION, "name": "r"}
    path.write_text(json.dumps(content))
    assert read(run) == content


def test_a_finished_run_lies_where_it_is_said_to(finished_run: Path) -> None:
    run = RunDirectory(finished_run)
    written = (run.manifest, run.space, run.lock, run.reports, run.decisions, run.study, run.summary)
    for path in (*written, run.clip_losses("T0", 1.0)):
        assert path.exists(), path


def test_the_module_does_without_ray_torch_and_numpy() -> None:
    program = "import sys, analysis.run_directory.paths\n"
    program += "print(*sorted({'ray', 'torch', 'numpy', 'click', 'trainable'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

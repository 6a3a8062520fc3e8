"""The masked autoencoder of the examples is searched and promoted by the same commands, and stays small."""

from pathlib import Path

from analysis import load
from tests.conftest import ROOT, Command, complaints
from tests.salt_tune.conftest import read_json, read_reports, search

FOLDER = ROOT / "examples" / "another_task"


def test_it_is_short() -> None:
    assert len((FOLDER / "mae.py").read_text(encoding="utf-8").splitlines()) < 150


def test_it_is_searched_and_promoted(store_path: Path, tmp_path: Path, command: Command) -> None:
    settings = ("dim=32", "batch_size=8", "trials=3", "schedule.epochs=2", "schedule.reports=2", "evaluation.clips=8")
    words = [word for setting in settings for word in ("--set", setting)]
    ended = search(tmp_path, "--space", FOLDER / "space.yaml", "--store", store_path, *words, name="mae")
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    summary = ended.summary
    assert f"Promote {summary['recommended']}" in ended.output and "Without learning" not in ended.output
    assert {trial["state"] for trial in summary["trials"]} <= {"complete", "pruned"}
    reports = [report for report in read_reports(ended.path / "reports.jsonl") if report["trial"] == summary["best"]]
    assert reports[-1]["val_loss"] < reports[0]["val_loss"]
    assert "probe_top1" not in reports[-1].keys() | summary["trials"][0].keys()

    run = load(ended.path)
    assert run.baselines == {} and run.trials["val_r2"].isna().all() and run.reports["val_loss"].notna().all()

    promoted = command("promote", ended.path, "--epochs", 3)
    assert (promoted.returncode, complaints(promoted.stderr)) == (0, ""), promoted.stdout
    final = ended.path / "final" / f"{summary['best']}-3epochs"
    assert read_json(final / "config.json")["config"]["dim"] == 32
    assert "the checkpoint of its last report" in (final / "README.md").read_text(encoding="utf-8")


def test_its_schedule_counts_in_epochs(store_path: Path, tmp_path: Path) -> None:
    words = ("--set", "schedule={seconds: 5}", "--store", store_path)
    refused = search(tmp_path, "--space", FOLDER / "space.yaml", *words, name="mae")
    assert refused.exit_code == 2 and refused.errors.count("\n") == 1
    assert "schedule.seconds = 5: trials of examples.another_task.mae:MaskedAutoencoder are counted in epochs" in (
        refused.errors
    )

"""The winner, trained for longer: what is written, and that no interruption changes it."""

import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import analysis
import trainable
from salt_tune.report.prediction import Prediction
from salt_tune.ui.format import number
from tests.conftest import Command, complaints, start_command
from tests.salt_tune.conftest import FINAL_EPOCHS, Ended, read_json, read_reports, wait_for
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.final_trial import FinalTrial
from trainable.train.checkpoint import save_checkpoint
from trainable.train.training import Training
from trainable.worker import Report

pytestmark = pytest.mark.usefixtures("threads_as_before")

SEARCHED = 2  # epochs of the search


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("final")))


def test_it_ends_well_and_says_where_the_encoder_lies(promoted: Ended) -> None:
    assert promoted.exit_code == 0, promoted.errors
    assert complaints(promoted.errors) == ""
    assert f"after {FINAL_EPOCHS} epochs" in promoted.output
    assert f"trainable.load_encoder({str(promoted.path)!r})" in promoted.output
    assert "\x1b" not in promoted.output


def test_reports_cover_the_search_and_what_came_after(promoted: Ended) -> None:
    reports = read_reports(promoted.path / "reports.jsonl")
    assert [report["epoch"] for report in reports] == [float(epoch) for epoch in range(1, FINAL_EPOCHS + 1)]
    config = read_json(promoted.path / "config.json")["config"]
    assert reports[1]["lr"] == reports[5]["lr"] == config["lr"] > reports[-1]["lr"]  # it cools down
    assert f"from epoch {SEARCHED:g}, where the search left it" in promoted.output
    assert reports[-1]["val_loss"] < reports[0]["val_loss"]
    steps = analysis.load(promoted.path.parents[1]).final_steps()
    assert steps["step"].is_monotonic_increasing and steps["epoch"].iloc[-1] == FINAL_EPOCHS
    searched = steps[steps["epoch"] <= SEARCHED]
    mean = np.average(searched["train_loss"], weights=searched["steps"])
    assert len(searched) >= 2 and mean == pytest.approx(
        np.mean([report["train_loss"] for report in reports[:SEARCHED]])
    )
    assert {"val_r2", "probe_top1", "effective_rank", "grad_norm", "clips_per_second"} <= reports[-1].keys()


def test_the_configuration_is_the_winners_with_more_epochs(promoted: Ended) -> None:
    summary = read_json(promoted.path.parents[1] / "summary.json")
    winner = next(trial for trial in summary["trials"] if trial["id"] == summary["recommended"])
    assert read_json(promoted.path / "config.json")["config"] == {**winner["config"], "epochs": FINAL_EPOCHS}


def test_the_card_says_what_it_is_and_where_it_comes_from(promoted: Ended, store: ClipStore) -> None:
    card = (promoted.path / "README.md").read_text(encoding="utf-8")
    last = read_reports(promoted.path / "reports.jsonl")[-1]
    for words in (
        f"| val_loss | {number(last['val_loss'])} |",
        "finished",
        store.path.name,
        store.teacher.sha256[:12],
        "load_encoder",
        "64 tokens",
    ):
        assert words in card, words
    assert "{" not in card.replace("{dim}", "")
    assert "{dim}" not in card


def test_it_ends_with_how_good_the_encoder_is(promoted: Ended) -> None:
    table = read_json(promoted.path / "evaluation.json")
    assert [*table["rows"]] == ["model", "trial", "untrained", "teacher", "pixels", "chance"]
    last = read_reports(promoted.path / "reports.jsonl")[-1]
    for name in ("val_loss", "probe_top1", "probe_top1_low", "effective_rank", "lidar", "order_top1"):
        assert table["rows"]["model"][name] == pytest.approx(last[name]), name
    assert table["rows"]["model"]["attentive_top1"] is not None
    assert table["rows"]["trial"]["attentive_top1"] is not None
    card = (promoted.path / "README.md").read_text(encoding="utf-8")
    (verdict,) = (line for line in promoted.output.splitlines() if line.startswith("This model is "))
    assert f"{verdict}." in card and "better than untrained" in verdict and "the search's trial" in verdict
    assert "| this model |" in card and "| teacher's latents |" in card


def test_the_encoder_takes_a_clip(promoted: Ended, store: ClipStore) -> None:
    encoder = trainable.load_encoder(promoted.path)
    clip = store.view.to_frames(store.pixels(store.val, 0))
    features = encoder(torch.from_numpy(clip)[None]).tokens
    assert features.shape == (1, store.view.tokens, encoder.dim)
    assert torch.isfinite(features).all()
    backwards = encoder(torch.from_numpy(clip[::-1].copy())[None]).tokens
    assert not torch.allclose(features, backwards)


def test_the_same_command_again_has_nothing_to_do(promoted: Ended, here: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in promoted.path.rglob("*")}
    again = here("promote", promoted.path.parents[1], "--epochs", FINAL_EPOCHS)
    assert (again.returncode, complaints(again.stderr)) == (0, "")
    assert "nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in promoted.path.rglob("*")} == before


# Ctrl-C is heard as SIGTERM is: ui/test_signals.py has both.
ENDS = [(signal.SIGTERM, signal.SIGKILL), pytest.param((signal.SIGINT,), marks=pytest.mark.slow)]


@pytest.mark.parametrize("ends", ENDS, ids=lambda ends: ", ".join(end.name for end in ends))
def test_stopped_and_killed_it_comes_to_the_same_encoder(
    promoted: Ended, run: Path, here: Command, ends: tuple[signal.Signals, ...]
) -> None:
    final = run / "final" / promoted.path.name
    for past, end in enumerate(ends):
        process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS)
        wait_for(_reported(final, SEARCHED + 1 + 2 * past), process)
        process.send_signal(end)
        output, errors = process.communicate()
        killed = end is signal.SIGKILL
        assert process.returncode == (-end if killed else 130)
        assert "Traceback" not in errors
        assert ("the same command goes on" in output) != killed
        assert not (final / "model.safetensors").exists()
    done = here("promote", run, "--epochs", FINAL_EPOCHS)
    assert done.returncode == 0, done.stderr
    assert (final / "model.safetensors").read_bytes() == (promoted.path / "model.safetensors").read_bytes()
    losses = {report["epoch"]: report["val_loss"] for report in read_reports(final / "reports.jsonl")}
    assert losses == {report["epoch"]: report["val_loss"] for report in read_reports(promoted.path / "reports.jsonl")}
    assert len(read_reports(final / "reports.jsonl")) == FINAL_EPOCHS


@pytest.mark.slow
def test_stopped_and_killed_in_its_evaluation_it_goes_on_with_that(promoted: Ended, run: Path, here: Command) -> None:
    final = run / "final" / promoted.path.name
    for end, row in ((signal.SIGINT, "model"), (signal.SIGKILL, "trial")):
        process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS)
        wait_for((final / "evaluation" / f"{row}.json").exists, process)
        process.send_signal(end)
        output, errors = process.communicate()
        assert process.returncode == (130 if end is signal.SIGINT else -end)
        assert "Traceback" not in errors
        assert ("the same command goes on" in output) == (end is signal.SIGINT)
        assert not (final / "README.md").exists() and not (final / "evaluation.json").exists()
        reports = read_reports(final / "reports.jsonl")
        assert len(reports) == FINAL_EPOCHS
    done = here("promote", run, "--epochs", FINAL_EPOCHS)
    assert done.returncode == 0, done.stderr
    assert read_reports(final / "reports.jsonl") == reports
    one, other = (read_json(folder / "evaluation.json") for folder in (final, promoted.path))
    assert one["verdict"].keys() == other["verdict"].keys() and one["rows"].keys() == other["rows"].keys()
    assert one["rows"]["model"]["probe_top1"] == other["rows"]["model"]["probe_top1"]


def test_another_promoted_model_is_compared_with(promoted: Ended, run: Path, here: Command, tmp_path: Path) -> None:
    refused = here("promote", run, "--epochs", 3, "--against", tmp_path / "none")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"error: --against = {tmp_path / 'none'}: ")
    assert not (run / "final").exists()
    assert here("promote", run, "--epochs", 3).returncode == 0
    (final,) = (run / "final").iterdir()
    reports = read_reports(final / "reports.jsonl")
    done = here("promote", run, "--epochs", 3, "--against", promoted.path)
    assert done.returncode == 0, done.stderr
    assert "--against" in done.stdout and "in attentive_top1" in done.stdout
    assert read_json(final / "evaluation.json")["against"] == str(promoted.path)
    assert read_reports(final / "reports.jsonl") == reports
    again = here("promote", run, "--epochs", 3, "--against", promoted.path)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_a_task_that_measures_no_such_table_is_promoted_without(lasting: Path, here: Command) -> None:
    refused = here("promote", lasting, "--epochs", 4, "--against", lasting)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "compares no promoted models" in refused.stderr
    done = here("promote", lasting, "--epochs", 4)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    (final,) = (lasting / "final").iterdir()
    assert (final / "README.md").exists() and not (final / "evaluation.json").exists()
    assert "How good" not in done.stdout


def _reported(final: Path, count: int) -> Callable[[], bool]:
    return lambda: len(read_reports(final / "reports.jsonl")) >= count


@pytest.mark.slow  # the trial of such a search: trainable/trial/test_trial_run.py
def test_a_trial_that_was_measured_in_compute_is_promoted_in_epochs(run: Path, here: Command) -> None:
    space = yaml.safe_load((run / "space.yaml").read_text(encoding="utf-8"))
    space["schedule"] = {"scheduler": "asha", "tflops": 50.0, "reports": 6}
    space["promotion"] = {"epochs": 3}
    (run / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    done = here("promote", run)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    best = read_json(run / "summary.json")["recommended"]
    reports = read_reports(run / "final" / f"{best}-3epochs" / "reports.jsonl")
    assert [report["epoch"] for report in reports] == [1.0, 2.0, 2.25, 2.5, 2.75, 3.0]  # the search had 2


@pytest.fixture
def trunk_run(run: Path, store: ClipStore) -> Path:
    """The search, as if its winner had been trained for an epoch under wsd."""
    summary = read_json(run / "summary.json")
    (winner,) = (trial for trial in summary["trials"] if trial["id"] == summary["recommended"])
    winner["config"] |= {"lr_schedule": "wsd", "warmup_steps": 2, "ema": 0.2}
    winner |= {"epochs": 1.0, "training_seconds": 2.0}
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    reports = [report for report in read_reports(run / "reports.jsonl") if report["trial"] == winner["id"]]
    kept = [json.dumps(report) for report in reports if report["epoch"] <= 1]
    (run / "reports.jsonl").write_text("\n".join([*kept, ""]), encoding="utf-8")
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as the command: the same bits
    training = Training(TrialConfig.from_dict({**winner["config"], "epochs": 1, "cooldown": 0}), store)
    training.train_to(training.total_steps)
    training.close()
    save_checkpoint(run / "checkpoints" / f"{winner['id']}.safetensors", training)
    return run


def test_under_wsd_it_goes_on_where_the_search_left_it(trunk_run: Path, here: Command, store: ClipStore) -> None:
    best, ways = read_json(trunk_run / "summary.json")["recommended"], {}
    for way in ((), ("--from-scratch",)):
        done = here("promote", trunk_run, "--epochs", 3, *way)
        assert (done.returncode, complaints(done.stderr)) == (0, "")
        folder = trunk_run / "final" / f"{best}-3epochs{'-from-scratch' if way else ''}"
        begins = "from scratch; about 6" if way else "from epoch 1, where the search left it; about 4"
        assert f"3 epochs on {store.path}, {begins}" in done.stdout
        assert ("whose first 1 epochs are" in (folder / "README.md").read_text(encoding="utf-8")) == (not way)
        assert not (folder / "baselines").exists()  # the search has measured them
        ways[way] = load_file(folder / "model.safetensors"), read_reports(folder / "reports.jsonl")
    (went_on, its_reports), (anew, reports) = ways.values()
    assert [report["epoch"] for report in its_reports] == [report["epoch"] for report in reports] == [1.0, 2.0, 3.0]
    assert its_reports[-1]["val_loss"] == reports[-1]["val_loss"]
    assert all(torch.equal(tensor, anew[name]) for name, tensor in went_on.items())


def test_a_trial_goes_on_to_more_epochs_only(trunk_run: Path, here: Command) -> None:
    refused = here("promote", trunk_run, "--epochs", 1)
    assert refused.returncode == 2
    assert "--epochs = 1: " in refused.stderr
    assert "was trained for 1 already, and this has 0.8 to go on to; give more, or --from-scratch" in refused.stderr
    assert not (trunk_run / "final").exists()


def test_a_finished_run_is_prolonged_from_before_its_cooldown(trunk_run: Path, here: Command) -> None:
    refused = here("promote", trunk_run, "--more", 2)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "is finished that --more could prolong; promote it first" in refused.stderr
    best = read_json(trunk_run / "summary.json")["recommended"]
    assert here("promote", trunk_run, "--epochs", 3).returncode == 0
    begins = f"from epoch 2.5, the trunk of {best}-3epochs"  # 6 of 12 steps cool down by a fifth, rounded
    done = here("promote", trunk_run, "--more", 2)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert f"5 epochs on {read_json(trunk_run / 'summary.json')['store']['path']}, {begins}" in done.stdout
    longer = trunk_run / "final" / f"{best}-5epochs"
    reports = read_reports(longer / "reports.jsonl")
    assert [report["epoch"] for report in reports] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert reports[2]["lr"] > reports[-1]["lr"]
    assert read_json(longer / "config.json")["provenance"]["begun_at_epoch"] == 2.5
    for others in (("--epochs", 9), ("--from-scratch",)):
        refused = here("promote", trunk_run, "--more", 2, *others)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "give one of the two" in refused.stderr


def test_a_run_begins_with_the_weights_of_another_model(promoted: Ended, run: Path, here: Command) -> None:
    for folder, words in ((run, "no encoder that can be loaded"), (promoted.path / "no", "no encoder")):
        refused = here("promote", run, "--init", folder, "--epochs", 1)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith(f"error: --init = {folder}: ") and words in refused.stderr
    assert not (run / "final").exists()
    done = here("promote", run, "--init", promoted.path, "--epochs", 1)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert f"with the weights of {promoted.path.name}" in done.stdout
    (final,) = (run / "final").iterdir()
    sha256 = read_json(promoted.path / "config.json")["weights_sha256"]
    assert final.name == f"{promoted.path.name.partition('-')[0]}-1epochs-init-{sha256[:8]}"
    assert f"begun with the weights of `{promoted.path.name}`" in (final / "README.md").read_text(encoding="utf-8")
    assert [report["epoch"] for report in read_reports(final / "reports.jsonl")] == [1.0]
    begun = read_json(final / "config.json")["provenance"]["init"]
    assert begun == {"name": promoted.path.name, "sha256": sha256}


def test_finalists_go_on_in_turn_and_one_is_trained_to_the_end(run: Path, here: Command) -> None:
    refused = here("promote", run, "--top", 50)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--top = 50: " in refused.stderr and "trials that finished and are of use" in refused.stderr
    done = here("promote", run, "--top", 2, "--epochs", 5)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "their trunks go on in turn, to epoch 4 at most" in done.stdout
    finals = {folder.name.partition("-")[0]: folder for folder in (run / "final").iterdir()}
    (winner,) = (trial for trial, folder in finals.items() if (folder / "README.md").exists())
    assert len(finals) == 2 and f"{winner} goes on to epoch" in done.stdout
    reports = {trial: read_reports(folder / "reports.jsonl") for trial, folder in finals.items()}
    assert [report["epoch"] for report in reports[winner]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(report["epoch"] <= 4 for trial in reports if trial != winner for report in reports[trial])
    again = here("promote", run, "--top", 2, "--epochs", 5)
    assert again.returncode == 0 and "this run is finished; nothing to do" in again.stdout


def test_it_says_what_the_search_predicted(promoted: Ended) -> None:
    lines = promoted.output.splitlines()
    (before,) = (line for line in lines if "by the curves" in line)
    (after,) = (line for line in lines if "what the search predicted" in line)
    assert any(line.strip().startswith("checkpoints take up to ") for line in lines)
    assert before.strip().startswith("val_loss 0.") and before.endswith("] at the end")
    assert re.fullmatch(r"val_loss \S+ is (within|outside) what the search predicted: \S+ \[\S+, \S+\]", after)
    told = read_json(promoted.path / "promotion.json")
    assert after.endswith(f": {Prediction(**told['predicted'])}")
    assert (told["begun_at_epoch"], told["epochs"]) == (SEARCHED, FINAL_EPOCHS) and told["trunk_epochs"] < FINAL_EPOCHS


def test_another_trial_can_be_named(run: Path, here: Command) -> None:
    summary = read_json(run / "summary.json")
    other = next(trial for trial in summary["trials"] if trial["id"] != summary["recommended"])
    done = here("promote", run, "--trial", other["id"], "--epochs", 3)
    assert done.returncode == 0, done.stderr
    assert f"the search recommends {summary['recommended']}" in done.stdout
    config = read_json(run / "final" / f"{other['id']}-3epochs" / "config.json")
    assert config["config"]["lr"] == other["config"]["lr"]
    assert config["provenance"]["trial"] == other["id"]
    assert "Traceback" not in done.stderr


def test_an_encoder_of_no_use_is_promoted_by_force_alone(run: Path, here: Command) -> None:
    summary = read_json(run / "summary.json")
    worse = [{**trial, "verdict": "worse than untrained"} for trial in summary["trials"]]
    told = {**summary, "trials": worse, "nothing_to_promote": True}
    (run / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    for words, said in (
        ((), f"error: {run}: no complete trial that was judged is of more use than an untrained encoder; "),
        (
            ("--trial", "T0"),
            f"error: {run}: T0 is worse than untrained; name another with --trial, or promote it with ",
        ),
    ):
        refused = here("promote", run, "--epochs", 3, *words)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith(said) and "--anyway" in refused.stderr
    assert not (run / "final").exists()
    done = here("promote", run, "--epochs", 3, "--anyway")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert (run / "final" / f"{summary['recommended']}-3epochs" / "model.safetensors").exists()


def test_a_store_that_was_moved_is_named_by_a_flag(run: Path, store_path: Path, here: Command, tmp_path: Path) -> None:
    moved = shutil.copytree(store_path, tmp_path / "moved")
    summary = read_json(run / "summary.json")
    text = (run / "summary.json").read_text(encoding="utf-8").replace(summary["store"]["path"], "/gone")
    (run / "summary.json").write_text(text, encoding="utf-8")
    refused = here("promote", run, "--epochs", 3)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "/gone" in refused.stderr
    assert not (run / "final").exists()
    assert here("promote", run, "--epochs", 3, "--store", moved).returncode == 0


@pytest.fixture
def lasting(mixed_run: Ended, tmp_path: Path) -> Path:
    """A run of the toy task, whose trials take some seconds when they are promoted."""
    run = Path(shutil.copytree(mixed_run.path, tmp_path / "toy", ignore=shutil.ignore_patterns("final")))
    summary = read_json(run / "summary.json")
    for trial in summary["trials"]:
        trial["config"]["seconds"] = 4.0
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return run


def test_of_two_at_once_one_goes_on(lasting: Path) -> None:
    processes = [start_command(lasting.parent, "promote", lasting, "--epochs", 4) for _ in range(2)]
    ended = sorted((process.wait(), *process.communicate()) for process in processes)
    assert [code for code, *_ in ended] == [0, 2], ended
    final = next((lasting / "final").iterdir())
    errors = ended[1][2]
    assert errors.startswith(f"error: {final}: process ") and errors.endswith(
        "trains this model; wait for it, or stop it\n"
    )
    epochs = [report["epoch"] for report in read_reports(final / "reports.jsonl")]
    assert epochs == sorted(set(epochs)) == [0.25 * step for step in range(1, 17)]


def test_a_report_that_comes_again_is_kept_once(lasting: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of workers that died between a report and its checkpoint: others make it again."""
    train = FinalTrial.train

    def train_twice(self: FinalTrial, on_report: Callable[[Report], None], *others: Any) -> Report | None:
        def report_twice(report: Report) -> None:
            on_report(report)
            on_report(report)

        return train(self, report_twice, *others)

    monkeypatch.setattr(FinalTrial, "train", train_twice)
    done = here("promote", lasting, "--epochs", 4)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    (final,) = (lasting / "final").iterdir()
    epochs = [0.25 * step for step in range(1, 17)]
    assert [report["epoch"] for report in read_reports(final / "reports.jsonl")] == epochs
    assert sum(line.startswith("epoch ") for line in done.stdout.splitlines()) == len(epochs)


def test_a_reader_that_leaves_stops_it_and_it_goes_on(lasting: Path) -> None:
    asked = ("promote", lasting, "--epochs", FINAL_EPOCHS, "--trial", "T2")
    process = start_command(lasting.parent, *asked, env={})  # with pipes
    assert process.stdout is not None and process.stderr is not None
    assert "from scratch" in process.stdout.readline()
    assert any(line.startswith("epoch ") for line in process.stdout)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 130
    assert errors.count("\n") == 1 and errors.startswith("Interrupted; the same command goes on from here: ")
    command = shlex.split(errors.partition("here: ")[2])
    words = ["python", "-m", "salt_tune.promote", str(lasting), "--trial", "T2", "--epochs", str(FINAL_EPOCHS)]
    assert command == words
    final = lasting / "final" / f"T2-{FINAL_EPOCHS}epochs"
    reported = len(read_reports(final / "reports.jsonl"))
    assert 1 <= reported < 4 * FINAL_EPOCHS
    assert (final / "checkpoint.safetensors").exists()

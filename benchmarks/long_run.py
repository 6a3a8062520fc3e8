"""`python -m benchmarks.long_run`: what a long final run costs besides its steps, without training it.

20 epochs of ViT-Base on the 168,903 training clips of Something-Something v2, as search_spaces/vit_base.yaml has it.

- Real: the schedule of all steps, the order and the masks of one epoch, each line of reports.jsonl with its fsync. So
  are the model with AdamW's state and averaged weights, some of its checkpoints on this disk, and its encoder. A
  checkpoint is taken up from a cold and from a warm page cache.
- Counted: all other checkpoints, as large and as slow as the mean of the real ones.
- Simulated: the steps, which take `--step-seconds` each, and the values in the reports.
- Left out: evaluations; their time depends on the panel (`benchmarks.panel`).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.run_directory.reports import plain_report
from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from salt_tune.runs.journal import Journal
from salt_tune.space.space_file import load_space
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.final_trial import probe_epochs
from trainable.hashing import clip_key
from trainable.masking.masks import Masks
from trainable.metrics import computed, interval_fields
from trainable.model.encoder import save_encoder
from trainable.model.flops import measure_model
from trainable.model.size import ModelSize
from trainable.registry import LR_SCHEDULES
from trainable.train.checkpoint import load_checkpoint, save_checkpoint
from trainable.train.training import Training
from trainable.trial.report import memory
from trainable.trial.run_to_end import report_steps

CLIPS = 168_903  # to train on, in Something-Something v2
EPOCHS = 20
STEP_SECONDS = 32 / 368  # ViT-Base at batch 32 on an H100: results/step-gpu.json
GB = 1e9


def main() -> None:
    """Simulates the run and writes results/long-run-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-seconds", type=float, default=STEP_SECONDS)
    parser.add_argument("--saved", type=int, default=4, help="checkpoints that are really written")
    parser.add_argument("--folder", type=Path, help="where they are written [default: the folder of temporary files]")
    given = parser.parse_args()
    space = load_space("vit_base", {})
    config = TrialConfig.from_dict({**space.config(space.start_from[0], seed=0), "epochs": EPOCHS})
    assert space.schedule.epochs is not None
    steps_per_epoch = CLIPS // config.batch_size
    total = steps_per_epoch * EPOCHS
    points = report_steps(steps_per_epoch, total, round(space.schedule.reports / space.schedule.epochs))
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        store = build(folder / "store", plan_of(write_videos(folder / "videos", clips=48)))
        size = measure_model(config, store.view, store.teacher.dim)
        seconds: dict[str, float] = {
            "schedule": _seconds(lambda: _all_rates(config, total)),
            "order": _seconds(lambda: _order(config)),
            "masks": _seconds(lambda: _masks(config, store)),
            "building": _seconds(lambda: Training(config, store).close()),
        }
        journal = folder / "reports.jsonl"
        seconds["reports"] = _seconds(lambda: _report_all(journal, points, steps_per_epoch, size, given.step_seconds))
        training = _trained(config, store)
        checkpoint = folder / "checkpoint.safetensors"
        saving = [_seconds(lambda: save_checkpoint(checkpoint, training)) for _ in range(given.saved)]
        seconds["encoder"] = _seconds(
            lambda: save_encoder(folder, training.outcome.model.student, config, store.view, {})
        )
        _forget(checkpoint)
        seconds["cold"] = _seconds(lambda: load_checkpoint(checkpoint, training))
        seconds["warm"] = _seconds(lambda: load_checkpoint(checkpoint, training))
        training.close()
        sizes = {path.name: path.stat().st_size for path in (checkpoint, journal, folder / "encoder.safetensors")}
    machine.write("long-run", _figures(given.step_seconds, steps_per_epoch, points, seconds, saving, sizes))


def _figures(
    step: float,
    steps_per_epoch: int,
    points: list[int],
    seconds: dict[str, float],
    saving: list[float],
    sizes: dict[str, int],
) -> dict[str, Any]:
    training, checkpoints = step * points[-1], len(points)
    saved, written = statistics.mean(saving) * checkpoints, sizes["checkpoint.safetensors"] * checkpoints
    outside = saved + seconds["reports"] + seconds["encoder"]
    epoch = step * steps_per_epoch
    return {
        "run": f"ViT-Base, {EPOCHS} epochs of {CLIPS:,} clips, {points[-1]:,} steps of {step * 1000:.1f} ms (given)",
        "reports, each with a checkpoint": checkpoints,
        "checkpoint, GB": round(sizes["checkpoint.safetensors"] / GB, 3),
        "checkpoints really written": len(saving),
        "seconds of each": [round(one, 2) for one in saving],
        "seconds of all checkpoints, counted": round(saved),
        "written in all, GB": round((written + sizes["reports.jsonl"] + sizes["encoder.safetensors"]) / GB, 1),
        "reports.jsonl, KB": round(sizes["reports.jsonl"] / 1000, 1),
        "a line of reports.jsonl with fsync, ms": round(seconds["reports"] / len(points) * 1000, 2),
        "encoder, GB, seconds": f"{sizes['encoder.safetensors'] / GB:.3f}, {seconds['encoder']:.2f}",
        "learning rate and decay of all steps, seconds": round(seconds["schedule"], 2),
        "order of an epoch, seconds": round(seconds["order"], 4),
        "masks of an epoch, seconds, one thread": round(seconds["masks"], 1),
        "masks, of the epoch's time": round(seconds["masks"] / epoch, 3),
        "to resume, seconds: build the model": round(seconds["building"], 2),
        "to resume, seconds: read the checkpoint, cold page cache": round(seconds["cold"], 2),
        "to resume, seconds: read the checkpoint, warm page cache": round(seconds["warm"], 2),
        "lost at most where it is killed, minutes of training": round(step * max(np.diff([0, *points])) / 60, 1),
        "share of the run spent saving and reporting": round(outside / (training + outside), 4),
        "hours of the run, evaluations left out": round((training + outside) / 3600, 2),
    }


def _all_rates(config: TrialConfig, total: int) -> None:
    rates = LR_SCHEDULES[config.lr_schedule]
    for step in range(1, total + 1):
        rates(config, step, total)


def _order(config: TrialConfig) -> None:
    np.random.Generator(np.random.Philox(key=[config.seed, 0])).permutation(CLIPS)  # as in `Loader.training_epoch`


def _masks(config: TrialConfig, store: ClipStore) -> None:
    masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
    keys = np.array([clip_key(str(clip)) for clip in range(CLIPS)], dtype=np.uint64)
    for start in range(0, CLIPS - config.batch_size + 1, config.batch_size):
        masks.draw(0, keys[start : start + config.batch_size])


def _report_all(path: Path, points: list[int], steps_per_epoch: int, size: ModelSize, step_seconds: float) -> None:
    """Appends a line for each report, as `promote` does; the values are made up, the fields are those of a report."""
    journal, probed = Journal(path), {round(epoch * steps_per_epoch) for epoch in (*probe_epochs(EPOCHS), EPOCHS)}
    for step in points:
        names = [*computed("report"), *(computed("probe") if step in probed else ())]
        measured = {field: 0.123456789012345 for name in names for field in (name, *interval_fields(name))}
        of_training = ("train_loss", "grad_norm", "clipped_share", "lr", "weight_decay", "clips_per_second",
                       "waiting_share", "computing_share", "evaluating_share", "step_seconds")  # fmt: skip
        report = {
            "epoch": step / steps_per_epoch,
            "step": step,
            "status": "complete" if step == points[-1] else "running",
            **measured,
            **dict.fromkeys(of_training, 0.123456789012345),
            "training_seconds": step * step_seconds,
            "tflop": step * size.tflop_per_step,
            "student_parameters": size.student_parameters,
            "predictor_parameters": size.predictor_parameters,
            **memory(torch.device("cpu")),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        journal.append(plain_report("T0", report))


def _trained(config: TrialConfig, store: ClipStore) -> Training:
    """Makes a training that has AdamW's state, as after a step, which would take a minute on a CPU."""
    training = Training(config, store)
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    training.step = 1
    return training


def _forget(path: Path) -> None:
    """Drops the file from the page cache, as after a restart of the machine."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""`python -m benchmarks.disk`: what a search may use of the disk, computed before it begins, and what one uses.

Computes the bound of the main search (24 trials of ViT-Base), with ASHA and with freeze_thaw. Compares that of small
searches with the most that their run directories took, looked at every few milliseconds.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import machine
from salt_tune.controller.replicates import most_replicates
from salt_tune.report.finalists import MOST_TIED
from salt_tune.resources.disk_budget import GB, DiskBound, disk_bound, folder_bytes
from salt_tune.space.feasibility import largest_models
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import load_space
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View

TEACHER_DIM = 768  # VideoMAEv2-Base
HELD_OUT = [f"{number:06d}" for number in range(24_777)]  # Something-Something v2
KEEP = 4
LOOK_EVERY = 0.02  # seconds
CONCURRENT = 2
SMALL = ("trials=8", "schedule.epochs=2", "schedule.first_rung=0.5", "schedule.reports=4", "fixed.student_depth=1")


def main() -> None:
    """Measures and writes results/disk-*.json."""
    figures: dict[str, str] = {}
    for scheduler, keep in (("asha", None), ("freeze_thaw", None), ("freeze_thaw", KEEP)):
        space = load_space("vit_base", {"schedule.scheduler": scheduler})
        bound = _bound(space, View(), TEACHER_DIM, HELD_OUT, 1 if torch.cuda.device_count() < 2 else CONCURRENT, keep)
        kept = f", --keep-checkpoints {keep}" if keep else ""
        figures[f"bound, ViT-Base, {space.trials} trials, {scheduler}{kept}"] = _words(bound)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(folder, "prepare", "--synthetic", 64, "--store", "store", "--teacher-epochs", 1)
        store = ClipStore.open(folder / "store")
        for scheduler in ("asha", "freeze_thaw"):
            settings = [*SMALL, f"schedule.scheduler={scheduler}"]
            space = load_space("demo", dict(_parsed(setting) for setting in settings))
            bound = _bound(space, store.view, store.teacher.dim, store.val.ids, CONCURRENT, None)
            run = folder / "runs" / scheduler
            flags = ["--store", "store", "--name", scheduler, "--concurrent", CONCURRENT]
            peak, checkpoints = _watch(folder, run, *flags, *(word for one in settings for word in ("--set", one)))
            label = f"small search, {space.trials} trials, {scheduler}"
            figures[f"bound, {label}"] = _words(bound)
            figures[f"most used, {label}"] = f"{peak / 1e6:.1f} MB, {checkpoints} checkpoints at once"
            assert peak <= bound.bytes_total
            assert checkpoints <= bound.checkpoints
    machine.write("disk", figures)


def _bound(
    space: SearchSpace, view: View, dim: int, held_out: Sequence[str], concurrent: int, keep: int | None
) -> DiskBound:
    judged = min(len(held_out), space.evaluation["clips"])
    sizes = [space.task.size(config, (view, dim)) for config in largest_models(space, seed=0)]
    replicates = most_replicates(["auto"], space.trials)
    return disk_bound(
        space, sizes, held_out, judged=judged, concurrent=concurrent, trials=space.trials, keep=keep,
        replicates=replicates, best=MOST_TIED,
    )  # fmt: skip


def _words(bound: DiskBound) -> str:
    parts = ", ".join(f"{name} {size / GB:.4g} GB" for name, size in bound.parts.items())
    return f"{bound.bytes_total / GB:.4g} GB: {bound.checkpoints} of {bound.checkpoint_bytes / GB:.4g} GB; {parts}"


def _parsed(setting: str) -> tuple[str, object]:
    key, _, value = setting.partition("=")
    return key, value if value[0].isalpha() else float(value) if "." in value else int(value)


def _run(folder: Path, module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", f"salt_tune.{module}", *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True)


def _watch(folder: Path, run: Path, *arguments: object) -> tuple[int, int]:
    """Runs a search, and sees the most bytes and checkpoints that `run` has at any time."""
    command = [sys.executable, "-m", "salt_tune.search", *map(str, arguments)]
    search = subprocess.Popen(command, cwd=folder)
    peak = checkpoints = 0
    while search.poll() is None:
        peak = max(peak, folder_bytes(run))
        checkpoints = max(checkpoints, len(list(run.glob("checkpoints/*.safetensors"))))
        time.sleep(LOOK_EVERY)
    if search.returncode:
        sys.exit(f"the search failed with exit code {search.returncode}")
    return peak, checkpoints


if __name__ == "__main__":
    main()

"""Memory or a disk that does not suffice, and files of others, end a trial in words; nothing that was done is lost."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.trainable.conftest import Start
from tests.trainable.trials import Fragile, checkpoint_of, make_run, make_trial, to_the_end, told
from trainable.data.store.clip_store import ClipStore
from trainable.errors import CheckpointError, ConfigError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.memory import is_out_of_memory
from trainable.trial.trial_run import SaltTrial


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("CUDA error: out of memory")],
    ids=["cuda", "python", "pinned"],
)
def test_memory_that_runs_out_ends_the_trial_at_the_point_it_had_reached(
    start: Start, judge: Fragile, straight: list[dict[str, Any]], error: Exception
) -> None:
    trial = start()
    reached = trial.next_report()
    judge.error = error
    lost = trial.next_report()
    assert (lost["status"], lost["resource"], str(lost["val_loss"])) == ("out_of_memory", 0.5, "nan")
    assert [lost[name] for name in ("step", "tflop")] == [reached[name] for name in ("step", "tflop")]
    assert trial.next_report() is lost
    assert [told(report) for report in to_the_end(start(known=0.5))] == [told(report) for report in straight[1:]]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_trial_that_the_gpu_has_no_memory_for_says_so_and_goes_on_where_it_has(
    store: ClipStore, tmp_path: Path
) -> None:
    run = replace(make_run(tmp_path, store), device="cuda")
    evaluator = Evaluator(store, EvaluationConfig(clips=8, panel_clips=16), device="cuda")

    def begin(known: float) -> SaltTrial:
        trial = make_trial(known=known, predictor_dim=512, predictor_depth=4)  # more than what the allocator has left
        return SaltTrial(trial, run, store, lambda: evaluator)

    first = begin(0.0)
    reached = first.next_report()
    first.close()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        lost = begin(0.5).next_report()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (lost["status"], lost["resource"], str(lost["val_loss"])) == ("out_of_memory", 0.5, "nan")
    assert lost["step"] == reached["step"]
    last = begin(0.5)
    assert [report["status"] for report in to_the_end(last)] == ["running", "running", "complete"]
    last.close()
    evaluator.close()


def test_other_errors_are_not_taken_for_a_lack_of_memory(start: Start, judge: Fragile) -> None:
    judge.error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        start().next_report()


def test_what_allocators_say_is_understood() -> None:
    for allocate in (lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, np.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(other.value)


def test_a_trial_that_cannot_be_built_is_an_error_of_its_own(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"^batch_size = 33: must not exceed the 32 training clips$"):
        start(batch_size=33).next_report()
    with pytest.raises(ConfigError, match=r"^student = 'vit_nano': is no timm model"):
        start(student="vit_nano").next_report()


def test_a_damaged_checkpoint_is_named(start: Start, tmp_path: Path) -> None:
    start().next_report()
    content = checkpoint_of(tmp_path).read_bytes()
    checkpoint_of(tmp_path).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=rf"^{checkpoint_of(tmp_path)}: not the whole checkpoint"):
        start(known=0.5).next_report()


def test_another_configurations_checkpoint_is_refused(start: Start, tmp_path: Path) -> None:
    start().next_report()
    with pytest.raises(CheckpointError, match=rf"^{checkpoint_of(tmp_path)}: .* lr = 0.001 there, 0.002 here$"):
        start(known=0.5, lr=2e-3).next_report()


# In disk/: fills it after the first report, says what comes of that, makes room, and starts the trial again.
PROGRAM = """
import contextlib, json, os, sys, traceback
from pathlib import Path
import torch
from tests.trainable.trials import make_run, make_trial
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.config import EvaluationConfig
from trainable.trial.trial_run import SaltTrial

torch.set_num_threads(1)
disk, store = Path("disk"), ClipStore.open(sys.argv[1])
evaluator = Evaluator(store, EvaluationConfig(clips=8, panel_clips=16))
start = lambda: SaltTrial(make_trial(), make_run(disk, store), store, lambda: evaluator)
trial = start()
first = trial.next_report()
with contextlib.suppress(OSError):
    (disk / "film").write_bytes(bytes(64 << 20))
os.truncate(disk / "film", (disk / "film").stat().st_size - 2**18)  # room for the clip losses, not for a checkpoint
try:
    trial.next_report()
except Exception:
    error = traceback.format_exc().splitlines()[-1]
left = sorted(file.name for file in (disk / "checkpoints").iterdir())
(disk / "film").unlink()
trial = start()
print(json.dumps([first, error, left, [trial.next_report() for _ in range(4)]]))
"""


def test_a_full_disk_is_an_error_in_one_line_and_loses_nothing(
    tmp_path: Path, store_path: Path, straight: list[dict[str, Any]]
) -> None:
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:  # noqa: S607
        pytest.skip("this machine lets no user mount a disk of their own")
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=16m tmpfs disk && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, PROGRAM, str(store_path)],  # noqa: S607
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, error, left, reports = json.loads(done.stdout)
    reason = "No space left on device; free some space, then resume the search"
    assert error == f"trainable.errors.UserError: disk/checkpoints/T0.safetensors: {reason}"
    assert left == ["T0.safetensors"]
    assert reports[0] == first
    assert [told(report) for report in reports] == [told(report) for report in straight]

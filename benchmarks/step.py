"""`python -m benchmarks.step`: what a training step costs, everything counted, beside a plain script's.

On CUDA: ViT-Base, 16 x 224 x 224, mask ratio 0.75, predictor 384 x 12, bfloat16, at batch 32 and 128. Ours and the
plain loop (`training_step/plain.py`) train the same model in one process, in turn. The plain one also runs with a batch
that stays on the device, so that its data cost nothing; ours always reads from the store. Ratios have 95% intervals
over rounds. The model FLOPs utilisation is against the product of large matrices, measured in the same run. Then each
option beside the same training without it. What options do to the judge's panel: `python -m benchmarks.step_options`.

Without a GPU a tiny model runs on the videos of the demo: that says whether the command works, and what a small step
spends its time on.

stable-pretraining's SALT is no peer here: it takes images, runs its teacher in each step, and draws one mask a batch
with counts that vary.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from benchmarks.training_step.options import Option, options_for
from benchmarks.training_step.plain import PlainTraining
from benchmarks.training_step.rounds import alternate, ratio
from benchmarks.training_step.shares import MarkedTraining, attention_kernels, matrix_rate, shares_of_a_step
from benchmarks.training_step.speed import speed_of
from trainable.config import TrialConfig
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.memory import free_memory
from trainable.model.flops import measure_model
from trainable.train.training import Training

ENDLESS = 10_000  # epochs
LARGE = TrialConfig(epochs=ENDLESS)
SMALL = TrialConfig(student="vit_tiny_patch16_224", student_depth=4, predictor_dim=128, predictor_depth=2, batch_size=8,
                    epochs=ENDLESS)  # fmt: skip
ROUNDS = 5
STEPS = {8: 4, 32: 6, 128: 2}  # in a round, by batch size


def main() -> None:
    """Measures and writes results/step-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which no further option begins")
    limit, started = parser.parse_args().limit, time.perf_counter()
    cuda = torch.cuda.is_available()
    device, base = (torch.device("cuda"), LARGE) if cuda else (torch.device("cpu"), SMALL)
    rates = {name: matrix_rate(device, kind) for name, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32))}
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder), full_size=cuda)
        figures: dict[str, object] = {
            "configuration": _words(base, store.view, "bf16" if cuda else "fp32"),
            "CPU threads": torch.get_num_threads(),
            "product of large matrices, TFLOP/s": {name: round(rate, 3) for name, rate in rates.items()},
        }
        for batch_size in (32, 128) if cuda else (base.batch_size,):
            config = base.replace(batch_size=batch_size)
            figures[f"batch {batch_size}"] = _beside_plain(config, store, rates["bf16" if cuda else "fp32"])
        table: dict[str, str] = {}
        figures[f"option, clips/s against batch {base.batch_size} without it"] = table
        for option in options_for(device, base.batch_size, len(store.train)):
            machine.save("step", figures)  # whatever ends this process while an option is compiled
            over = time.perf_counter() - started > limit
            table[option.name] = f"left out: {limit:.0f} s were over" if over else _beside_base(base, option, store)
    machine.write("step", figures)


def _store(folder: Path, *, full_size: bool) -> ClipStore:
    if full_size:
        return build(folder / "store", plan_of(write_videos(folder / "videos", clips=256)))
    write_dataset(folder / "videos", 80, size=64, frames=16)
    view, teacher = View(8, 48, 8, 2), {"name": "projection"}
    plan = Plan(find_source(folder / "videos"), view, "raw", "float16", teacher, "layer_norm", seed=0)
    return build(folder / "store", plan)


def _words(config: TrialConfig, view: View, precision: str) -> str:
    depth = f", {config.student_depth} layers" if config.student_depth else ""
    predictor = f"predictor {config.predictor_dim} x {config.predictor_depth}"
    clip = f"{view.frames} x {view.size} x {view.size}"
    return f"{config.student}{depth}, mask ratio {config.mask_ratio}, {predictor}, {clip}, {precision}"


def _beside_plain(config: TrialConfig, store: ClipStore, rate: float) -> dict[str, Any]:
    """Measures ours and the plain loop in turn; `rate` is that of large matrices, in TFLOP/s."""
    ours = MarkedTraining(config, store)
    plain, free = PlainTraining(ours), PlainTraining(ours, free_data=True)
    steps = STEPS[config.batch_size]
    free_memory()  # and forget the peak
    runs = {"ours": _steps_of(ours, steps), "plain": lambda: plain.train(steps), "free": lambda: free.train(steps)}
    seconds = alternate(runs, ROUNDS)
    clips = {name: config.batch_size * steps * ROUNDS / sum(times) for name, times in seconds.items()}
    size = measure_model(config, store.view, store.teacher.dim)
    reached = size.tflop_per_step * clips["ours"] / config.batch_size
    figures = {
        "clips/s": round(clips["ours"], 1),
        "plain loop, clips/s": round(clips["plain"], 1),
        "plain loop, a batch that stays on the device, clips/s": round(clips["free"], 1),
        "ours against the plain loop": str(ratio(seconds["plain"], seconds["ours"])),
        "ours against the plain loop whose data cost nothing": str(ratio(seconds["free"], seconds["ours"])),
        "TFLOP a step": round(size.tflop_per_step, 4),
        "TFLOP/s": round(reached, 3),
        "model FLOPs utilisation": round(reached / rate, 3),
        **_peak(ours.device),
        "attention, forward, a step": attention_kernels(ours),
        "share of a step": {part: round(share, 3) for part, share in shares_of_a_step(ours, 2 * steps).items()},
    }
    ours.close()
    return figures


def _beside_base(base: TrialConfig, option: Option, store: ClipStore) -> str:
    try:
        return str(speed_of(base, option, store))
    except RuntimeError as error:  # no such kernel, no compiler, not enough memory
        return f"failed: {str(error).strip().splitlines()[0]}"


def _steps_of(training: Training, steps: int) -> Callable[[], None]:
    return lambda: training.train_to(training.step + steps)  # which waits for the device


def _peak(device: torch.device) -> dict[str, float]:
    """Returns the peak of the GPU's memory; the plain models' weights and one batch of theirs are in it."""
    if device.type != "cuda":
        return {}
    return {"peak GPU GB, all three": round(torch.cuda.max_memory_allocated(device) / 1e9, 1)}


if __name__ == "__main__":
    main()

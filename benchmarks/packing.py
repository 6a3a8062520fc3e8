"""`python -m benchmarks.packing`: how many trials of the main search share this machine best, and what measuring takes.

ViT-Base at 16 x 224 x 224 in bfloat16, suggestions of search_spaces/vit_base.yaml. Without a GPU a ViT-Tiny on small
clips stands in for it: those figures say whether the command works, nothing else.
"""

import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from salt_tune.resources.packing import measure_packing
from salt_tune.space.space_file import load_space
from trainable.config import TrialConfig
from trainable.data.build.plan import Plan
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.model.flops import measure_model

CLIPS = 256
MOST = 12
POINTS = (
    {"lr": 3e-4, "mask_ratio": 0.75, "predictor_depth": 12, "predictor_dim": 384},  # by hand
    {"lr": 3e-4, "mask_ratio": 0.6, "predictor_depth": 12, "predictor_dim": 512},  # the most memory under one mask
    {"lr": 3e-4, "mask_ratio": 0.9, "predictor_depth": 4, "predictor_dim": 256},  # the least
)
SMALL = {"student": "vit_tiny_patch16_224", "student_depth": 4, "batch_size": 8}


def main() -> None:
    """Measures and writes results/packing-*.json."""
    cuda = torch.cuda.is_available()
    space = load_space("vit_base", {} if cuda else {f"fixed.{name}": value for name, value in SMALL.items()})
    configs = [space.config(point, seed=0) for point in POINTS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if cuda:
            plan = plan_of(write_videos(folder / "videos", CLIPS))
        else:
            write_dataset(folder / "videos", CLIPS, size=64, frames=16)
            view = View(16, 64)
            plan = Plan(find_source(folder / "videos"), view, "raw", "float16", {"name": "projection"}, "layer_norm", 0)
        store = build(folder / "store", plan)
        started = time.perf_counter()
        packing = measure_packing(
            configs,
            [measure_model(TrialConfig.from_dict(config), store.view, store.teacher.dim) for config in configs],
            store.path,
            evaluation=space.evaluation,
            cores=len(os.sched_getaffinity(0)),
            gpus=min(1, torch.cuda.device_count()),
            most=MOST,
        )
        seconds = time.perf_counter() - started
    rows = {
        f"{row.together} at a time": f"{row.speedup:.2f}x one, {row.clips_per_second:,.0f} clips/s, "
        f"{row.memory_gb:.1f} GB and {row.threads} threads each"
        for row in packing.rows
    }
    machine.write("packing", {**rows, "chosen": packing.why, "seconds to find out": round(seconds)})


if __name__ == "__main__":
    main()

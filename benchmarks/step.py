"""`python -m benchmarks.step`: clips/s and peak memory of training ViT-Base as the seed did, everything counted.

16 x 224 x 224, batch 32, mask ratio 0.75, predictor 384 x 12, bfloat16 autocast on CUDA. Without a GPU a few steps
run all the same, with ViT-Tiny: that figure says whether the command works, nothing else.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from trainable.config import TrialConfig
from trainable.train.training import Training
from trainable.trial.report import memory


def main() -> None:
    """Measures and writes results/step-*.json."""
    cuda = torch.cuda.is_available()
    student, batch = ("vit_base_patch16_224", 32) if cuda else ("vit_tiny_patch16_224", 4)
    config = TrialConfig(student=student, batch_size=batch, epochs=100)
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(Path(folder) / "videos", clips=256 if cuda else 32)
        training = Training(config, build(Path(folder) / "store", plan_of(videos)))
        training.train_to(20 if cuda else 1)
        training.collect()
        training.train_to(training.step + (100 if cuda else 3))
        figures = training.collect()
        training.close()
    precision = "bf16" if cuda else "fp32"
    machine.write(
        "step",
        {
            "configuration": f"{student}, batch {batch}, mask ratio 0.75, predictor 384 x 12, 16 x 224², {precision}",
            "clips/s": round(figures["clips_per_second"], 1),
            "share waiting for data": round(figures["waiting"] / figures["training"], 4),
            **{name: round(value, 2) for name, value in memory(training.device).items()},
        },
    )


if __name__ == "__main__":
    main()

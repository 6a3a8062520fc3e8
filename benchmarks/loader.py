"""`python -m benchmarks.loader`: the loader from a warm page cache against decoding the videos, one thread each.

Both hand over what a training step of ViT-Base needs at 16 x 224 x 224; the loader also brings the teacher's latents.
The ratio comes from one run on one machine; the seconds alone mean little.
"""

import tempfile
import time
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from trainable.data.store.loader import Loader
from trainable.data.video.reader import read_clip
from trainable.masking.masks import Masks

BATCH = 32
EPOCHS = 20


def main() -> None:
    """Measures and writes results/loader-*.json."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(Path(folder) / "videos")
        store = build(Path(folder) / "store", plan_of(videos))
        masks = Masks(store.view, "multiblock", 0.75, seed=0)
        loader = Loader(store, store.train, masks, BATCH)
        clips = 0
        for epoch in range(1 + EPOCHS):
            if epoch == 1:  # epoch 0 warms the page cache and compares checksums
                clips, started = 0, time.perf_counter()
            for batch in loader.training_epoch(seed=0, epoch=epoch):
                clips += len(batch.clips)
        loading = clips / (time.perf_counter() - started)
        loader.close()

        started = time.perf_counter()
        for path in sorted(videos.glob("*.webm"))[:40]:
            read_clip(path, store.view)
        decoding = 40 / (time.perf_counter() - started)
    machine.write(
        "loader",
        {
            "geometry": "16 x 224 x 224, patch 16, tubelet 2, mask ratio 0.75, batch 32, latents 768 wide",
            "loader clips/s, cache warm": round(loading),
            "decoding clips/s, VP9, 48 frames of 240 x 240": round(decoding, 1),
            "ratio": round(loading / decoding),
        },
    )


if __name__ == "__main__":
    main()

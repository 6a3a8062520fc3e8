"""`python -m benchmarks.store [VIDEOS]`: bytes a clip and clips/s of each format of a store, and what int8 costs.

Bytes and rates are at 16 x 224 x 224 with latents 768 wide, from a warm page cache; verify is in MB/s. The rounding of
int8 is measured on latents of pixel teachers, and its effect on a trained model at the demo's size. The same
configuration is trained on float16 and on int8 latents of the same teacher. Both are judged on the float16 ones. VIDEOS
is a folder of videos; without it, VP9 videos of moving shapes are written first, which JPEG finds easier than footage.
"""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.full_size import build, plan_of, write_videos
from salt_tune.stores.demo import DEMO_CLIPS, DEMO_VIEW
from trainable.config import TrialConfig
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.plan import Plan
from trainable.data.maintain.verify import verify
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.store.loader import Loader
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.masking.masks import Masks
from trainable.teachers.pixel import PIXEL_TEACHER, PixelTeacher
from trainable.train.training import Training

PIXELS: tuple[PixelFormat, ...] = ("raw", "jpeg", "none")
LATENTS: tuple[LatentFormat, ...] = ("float16", "int8")
BATCH = 32
SECONDS = 5.0  # that each format is read for
STUDENT = TrialConfig(
    student="vit_tiny_patch16_224", student_dim=128, student_depth=2, predictor_dim=128, predictor_depth=4,
    lr=1.4e-3, mask_ratio=0.675, warmup=0.1, grad_clip=1.0, batch_size=8, epochs=3,
)  # fmt: skip


def main() -> None:
    """Measures and writes results/store-*.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="?")
    videos = parser.parse_args().videos
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, object] = {"videos": "footage" if videos else "VP9, 48 frames of 240 x 240"}
        videos = videos or write_videos(folder / "videos")
        for pixels, latents in itertools.product(PIXELS, LATENTS):
            store = build(folder / f"{pixels}-{latents}", plan_of(videos, pixels, latents))
            label = f"{pixels} + {latents}"
            figures[f"{label}: KB a clip"] = round(_bytes_a_clip(store) / 1e3)
            figures[f"{label}: loader, clips/s"] = round(_loading_rate(store))
            if label == "raw + float16":
                figures["verify, MB/s, cache warm"] = round(_verify_rate(store) / 1e6)
        figures |= _int8_at_demo_size(folder)
    machine.write("store", figures)


def _bytes_a_clip(store: ClipStore) -> float:
    return sum(file.stat().st_size for file in store.path.glob("*-*.npy")) / (len(store.train) + len(store.val))


def _loading_rate(store: ClipStore) -> float:
    """Measures clips a second that training gets, after an epoch that warms the cache and compares checksums."""
    masks = Masks(store.view, "multiblock", 0.75, seed=0)
    loader = Loader(store, store.train, masks, min(BATCH, len(store.train)))
    for _ in loader.training_epoch(seed=0, epoch=0):
        pass
    clips, epoch, started = 0, 1, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        clips += sum(len(batch.clips) for batch in loader.training_epoch(seed=0, epoch=epoch))
        epoch += 1
    rate = clips / (time.perf_counter() - started)
    loader.close()
    return rate


def _verify_rate(store: ClipStore) -> float:
    seen = 0

    def count(size: int) -> None:
        nonlocal seen
        seen += size

    started = time.perf_counter()
    bad = verify(store, Decoders(os.cpu_count() or 1), count)
    seconds = time.perf_counter() - started
    assert not bad
    return seen / seconds


def _int8_at_demo_size(folder: Path) -> dict[str, object]:
    """Measures the relative error of int8, and what it does to the val_loss of a model that is trained on it."""
    videos = folder / "demo-videos"
    write_dataset(videos, DEMO_CLIPS, seed=0)
    first = Plan(find_source(videos), DEMO_VIEW, "raw", "float16", {"name": "pixel"}, "layer_norm", seed=0)
    builder = StoreBuilder(folder / "demo-float16", first)
    builder.write(None, Decoders(2), lambda _: None)
    trained = builder.partial / "teacher"
    PixelTeacher.train(builder.open_pixels(), trained, PIXEL_TEACHER, device="cpu", seed=0, on_report=lambda _: None)
    teacher = PixelTeacher(trained, "cpu")
    builder.add_latents(teacher, Decoders(2), lambda _: None)
    exact = builder.finish(teacher)
    second = Plan(first.source, DEMO_VIEW, "raw", "int8", {"name": "pixel"}, "layer_norm", seed=0)
    builder = StoreBuilder(folder / "demo-int8", second)
    builder.write(teacher, Decoders(2), lambda _: None)
    rounded = builder.finish(teacher)
    judge = Evaluator(exact, EvaluationConfig(), device="cpu")
    losses = {}
    for label, store in (("float16", exact), ("int8", rounded)):
        training = Training(STUDENT, store, device="cpu")
        training.train_to(training.total_steps)
        losses[label] = judge.judge(training).clip_losses
        training.close()
    judge.close()
    gap = losses["int8"] - losses["float16"]
    full, demo = ClipStore.open(folder / "raw-int8").manifest["latents"], rounded.manifest["latents"]
    return {
        "int8, relative error, full size": f"{full['relative_error']:.3%}",
        "int8, relative error, demo": f"{demo['relative_error']:.3%}",
        "int8, added to val_loss, demo": f"{demo['val_loss_added']:.2e}",
        "val_loss, trained on float16, demo": round(float(losses["float16"].mean()), 5),
        "val_loss, trained on int8, demo": round(float(losses["int8"].mean()), 5),
        "difference, clip by clip, 95%": f"{gap.mean():+.1e} +- {1.96 * gap.std(ddof=1) / len(gap) ** 0.5:.1e}",
    }


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()

"""The measurements of `benchmarks.prepare`, apart from it: the decoding workers import that one, without torch."""

import itertools
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from benchmarks import machine
from benchmarks.full_size import ProjectionTeacher, plan_of, write_videos
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoded, Decoders, Job, decode_all
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.build.shard_writer import ShardWriter
from trainable.data.build.stages import BATCH_ROWS, as_targets
from trainable.teachers.videomae import VideoMaeTeacher
from trainable.teachers.videomae_layout import tensor_shapes

TEACHER = "videomaev2_small"
SOME_CLIPS = 128  # that are kept in memory
LONG_CLIPS = 384  # so that the first clips and the last writes weigh little
SLOW_CLIPS = 48  # enough for the slow teacher


def measure(videos: Path | None, decoders: Decoders, count: int) -> None:
    """Measures in so many rounds and writes results/prepare-*.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, object] = {"videos": "footage" if videos else "VP9, 48 frames of 240 x 240"}
        plan = plan_of(videos or write_videos(folder / "videos"))
        some = decode_all(itertools.islice(_jobs(plan), SOME_CLIPS), plan.view, decoders)
        decoded = [clip for clip in some if isinstance(clip, Decoded)]
        long = _repeated(plan)
        # In turn, as the machine's own speed drifts.
        rounds = [
            (_decoding_rate(long, decoders), *_pipeline(long, None, folder / f"pixels-{number}", decoders))
            for number in range(count)
        ]
        decoding = statistics.median(alone for alone, _, _ in rounds)
        figures |= {
            "clips": len(long.source.clips),
            "decode alone, clips/s, median": round(decoding, 1),
            "write alone, clips/s": round(_writing_rate(plan, decoded, folder / "written"), 1),
            "decode and write, pipeline, clips/s, median": round(statistics.median(rate for _, rate, _ in rounds), 1),
            "decode and write, of the slowest stage, median": round(statistics.median(b / a for a, b, _ in rounds), 2),
            "decode and write, of the slowest stage, all rounds": [round(b / a, 2) for a, b, _ in rounds],
            "decode and write, peak GB over the start, all processes": round(max(peak for _, _, peak in rounds), 2),
        }
        teacher, few = _slow_teacher(folder), decoded[:SLOW_CLIPS]
        alone = _teacher_rate(plan, teacher, few)
        rate, peak = _pipeline(_only(plan, len(few)), teacher, folder / "store", decoders)
        figures[f"{TEACHER} alone, clips/s"] = round(alone, 2)
        figures[f"with {TEACHER}, pipeline, clips/s"] = round(rate, 2)
        figures[f"with {TEACHER}, of the slowest stage"] = round(rate / min(alone, decoding), 2)
        figures[f"with {TEACHER}, peak GB over the start, all processes"] = round(peak, 2)
    machine.write("prepare", figures)


def _repeated(plan: Plan) -> Plan:
    """Returns the plan with its clips under many names, until there are enough."""
    names = range(-(-LONG_CLIPS // len(plan.source.clips)))
    clips = [replace(clip, id=f"{clip.id}~{name}") for clip in plan.source.clips for name in names]
    return replace(plan, source=replace(plan.source, clips=tuple(sorted(clips, key=lambda clip: clip.id))))


def _only(plan: Plan, clips: int) -> Plan:
    """Returns the plan with its first clips only, a held-out one among them."""
    chosen = sorted(plan.source.clips, key=lambda clip: clip.split == "train")[: max(1, clips // 10)]
    chosen += [clip for clip in plan.source.clips if clip.split == "train"][: clips - len(chosen)]
    return replace(plan, source=replace(plan.source, clips=tuple(sorted(chosen, key=lambda clip: clip.id))))


def _jobs(plan: Plan) -> Iterable[Job]:
    return (Job(clip.path, plan.cuts(clip)) for clip in plan.source.clips)


def _decoding_rate(plan: Plan, decoders: Decoders) -> float:
    """Measures clips a second, from the first clip on: the workers' start is not counted."""
    results = decode_all(_jobs(plan), plan.view, decoders)
    next(results)
    started, count = time.perf_counter(), sum(1 for _ in results)
    return count / (time.perf_counter() - started)


def _teacher_rate(plan: Plan, teacher: FrozenTeacher, clips: list[Decoded]) -> float:
    pixels = torch.from_numpy(np.stack([clip.pixels[0] for clip in clips]))
    as_targets(plan, teacher.latents(pixels[:1]))
    started = time.perf_counter()
    for start in range(0, len(pixels), BATCH_ROWS):
        as_targets(plan, teacher.latents(pixels[start : start + BATCH_ROWS]))
    return len(pixels) / (time.perf_counter() - started)


def _writing_rate(plan: Plan, clips: list[Decoded], folder: Path) -> float:
    folder.mkdir()
    teacher = ProjectionTeacher(plan.view)
    targets = as_targets(plan, teacher.latents(torch.from_numpy(np.stack([clip.pixels[0] for clip in clips[:1]]))))
    started = time.perf_counter()
    for start in range(0, len(clips), 64):
        with ShardWriter(folder, f"train-{start:05d}") as writer:
            for clip in clips[start : start + 64]:
                writer.add_pixels(clip.stored[0])
                writer.add_latents(targets)
    return len(clips) / (time.perf_counter() - started)


def _pipeline(plan: Plan, teacher: FrozenTeacher | None, path: Path, decoders: Decoders) -> tuple[float, float]:
    """Measures clips a second, from the first batch until all are on disk, and the peak of memory above that before."""
    builder, process, done = StoreBuilder(path, plan), psutil.Process(), threading.Event()
    before, peak = process.memory_info().rss, 0
    moments: list[tuple[float, int]] = []

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            try:
                sizes = [one.memory_info().rss for one in (process, *process.children(recursive=True))]
            except psutil.Error:
                continue
            peak = max(peak, sum(sizes))

    threading.Thread(target=watch, daemon=True).start()
    builder.write(teacher, decoders, lambda count: moments.append((time.perf_counter(), count)))
    ended = time.perf_counter()
    done.set()
    shutil.rmtree(builder.partial)
    clips = sum(count for _, count in moments[1:])
    return clips / (ended - moments[0][0]), (peak - before) / 1e9


def _slow_teacher(folder: Path) -> VideoMaeTeacher:
    required, _ = tensor_shapes(TEACHER, transformers=False)
    file = folder / "random.safetensors"
    save_file({name: torch.randn(shape) * 0.02 for name, shape in required.items()}, file)
    return VideoMaeTeacher(TEACHER, file, "cuda" if torch.cuda.is_available() else "cpu")

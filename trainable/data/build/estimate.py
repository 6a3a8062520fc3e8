"""What a preparation will cost, before it begins: bytes on the disk, and seconds, from a few clips that are tried."""

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainable.data.build.decoding import Decoded, Decoders, Job, decode_all
from trainable.data.build.plan import Plan

TRIED_CLIPS = 8


@dataclass(frozen=True)
class Sample:
    """Some clips of a plan, tried.

    Attributes:
        decode_seconds: of a clip, with all its views, in one worker.
        row_bytes: that the pixels of a row take.
        pixels: what a teacher looks at, shape (rows, tokens, token values); no rows where none decoded.
    """

    decode_seconds: float
    row_bytes: float
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Size:
    """What a store will take on the disk.

    Attributes:
        rows: stored views of clips.
        pixels: bytes of their pixels.
        latents: bytes of their latents.
    """

    rows: int
    pixels: float
    latents: float

    @property
    def total(self) -> float:
        """Bytes in all."""
        return self.pixels + self.latents


def try_clips(plan: Plan, decoders: Decoders) -> Sample:
    """Decodes a few clips, spread over the plan, as the preparation will; in one process."""
    clips = plan.source.clips
    chosen = [clips[at] for at in np.unique(np.linspace(0, len(clips) - 1, TRIED_CLIPS + 1).astype(int))]
    jobs = (Job(clip.path, plan.cuts(clip)) for clip in chosen)
    results = decode_all(jobs, plan.view, replace(decoders, processes=1), pixels=plan.pixels)
    first = next(results)  # it waited for the worker to start, so the clock starts after it
    started = time.perf_counter()
    others = list(results)
    seconds = (time.perf_counter() - started) / max(len(others), 1)
    decoded = [result for result in (first, *others) if isinstance(result, Decoded)]
    sizes = [stored.nbytes for result in decoded for stored in result.stored]
    rows = [row for result in decoded for row in result.pixels]
    empty = np.empty((0, plan.view.tokens, plan.view.token_values), np.uint8)
    return Sample(seconds, float(np.mean(sizes)) if sizes else 0.0, np.stack(rows) if rows else empty)


def size_of(plan: Plan, sample: Sample, dim: int) -> Size:
    """Estimates the bytes of the store, where every video decodes.

    Args:
        plan: what it is to hold.
        sample: clips that were tried.
        dim: width of the latents.
    """
    token_bytes = dim + 4 if plan.latents == "int8" else dim * 2
    rows = plan.rows()
    return Size(rows, rows * sample.row_bytes, rows * plan.view.tokens * token_bytes)

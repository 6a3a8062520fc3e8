"""How much of the disk a search may use at most, known before it begins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salt_tune.registry import SCHEDULERS
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, counted
from trainable.errors import UserError
from trainable.files import free_bytes
from trainable.task import Size

GB = 1e9
BLOCK = 4096  # bytes that files are rounded up to

# Bytes, each above what was measured (benchmarks/disk.py).
CLIP_LOSS = 80  # of a clip in a parquet of losses, beside its name: the loss, and those of 16 time slots
STEPS = 128 * 1024  # of what the steps of a trial came to: 200 rows an epoch, of up to ten epochs
ANSWERS = 24  # of a clip in a parquet of answers, beside its name: all metrics, of one repeat
ANSWERED = 6  # such files beside those of trials, for each architecture
PARQUET = 4096  # of such a file, beside its clips
REPORT = 16 * 1024  # in reports.jsonl, decisions.jsonl, the study, and Ray's own results
TRIAL = 256 * 1024  # in the study, and in Ray's state, of which there are two while it is written, and one a session
SEARCH = 4 * 2**20  # databases, space, summary, Ray's state


@dataclass(frozen=True)
class DiskBound:
    """What a search may use at most.

    Attributes:
        checkpoints: how many there may be at once.
        checkpoint_bytes: of the largest.
        parts: bytes, by what they are for.
        unpaused: how many of the checkpoints may be of trials that run, and of the best ones.
        keeps: whether `--keep-checkpoints` says how many of paused trials there may be.
    """

    checkpoints: int
    checkpoint_bytes: int
    parts: dict[str, int]
    unpaused: int
    keeps: bool

    @property
    def bytes_total(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())


def most_paused(space: SearchSpace, trials: int, keep: int | None = None) -> int:
    """Returns how many paused trials may have a checkpoint at once.

    It is `keep` where the scheduler limits them. Another one that pauses trials may need all. ASHA gives a checkpoint
    up only where its trial can never be promoted, which may be nowhere before the end.
    """
    scheduler = SCHEDULERS[space.schedule.scheduler]
    if scheduler.limits_checkpoints and keep is not None:
        return min(trials, keep)
    return trials if scheduler.pauses and len(space.schedule.rung_points()) > 1 else 0


def disk_bound(
    space: SearchSpace,
    sizes: Sequence[Size],
    held_out: Sequence[str],
    *,
    judged: int,
    concurrent: int,
    trials: int,
    keep: int | None = None,
    replicates: int = 0,
    best: int = 1,
) -> DiskBound:
    """Returns what a search may use at most, without Weights & Biases' files.

    Args:
        space: what is searched.
        sizes: of the models it may try; the largest counts, and there may be none that can be built.
        held_out: names of the held-out clips.
        judged: how many of them a trial is judged on.
        concurrent: trials at a time.
        trials: how many are started.
        keep: paused trials that may keep a checkpoint; None: as many as the scheduler needs.
        replicates: trainings with further seeds, after the search.
        best: complete trials, at least 1, that keep a checkpoint as they may be tied.
    """
    started = trials + replicates
    held = min(started, most_paused(space, trials, keep) + concurrent + best)
    largest = max((_blocks(size.checkpoint_bytes) for size in sizes), default=BLOCK)
    reports = started * len(space.schedule.report_points())
    name = max((len(clip.encode()) for clip in held_out), default=0)
    panel, repeats = (space.evaluation.get(name, 0) for name in ("panel_clips", "repeats"))  # of tasks that have one
    probed = started * len(space.probe_points()) + ANSWERED * max(1, len(sizes))
    parts = {
        "checkpoints": held * largest,
        "checkpoints being written": min(started, concurrent) * largest,
        "clip losses": reports * _blocks(judged * (name + CLIP_LOSS) + PARQUET),
        "answers of probes": probed * _blocks(panel * (name + ANSWERS * repeats) + 2 * PARQUET) if panel else 0,
        "steps": started * STEPS,
        "reports": reports * REPORT + started * TRIAL + SEARCH,
    }
    limited = SCHEDULERS[space.schedule.scheduler].limits_checkpoints
    return DiskBound(held, largest, parts, concurrent + best, keeps=limited)


def keep_for_limit(bound: DiskBound, limit: float) -> int:
    """Returns how many paused trials may keep their checkpoints, so that a search stays within `limit` bytes.

    Args:
        bound: of the search, whatever it keeps.
        limit: in bytes.

    Returns:
        The largest `keep` that `disk_bound` stays within the limit with; below 0 where none does.
    """
    more = math.floor((limit - bound.bytes_total) / bound.checkpoint_bytes)
    return bound.checkpoints + more - bound.unpaused


def check_disk(path: Path, bound: DiskBound, limit_gb: float | None = None) -> None:
    """Says in a line what a search may use, and refuses it where that is too much.

    What a run to be resumed has on the disk already is part of what it may use.

    Args:
        path: the run directory, there or not.
        bound: of the search.
        limit_gb: what the user allows.

    Raises:
        UserError: the user allows less, or less is free.
    """
    need, has = bound.bytes_total, folder_bytes(path)
    free = free_bytes(path)
    what = f"{counted(bound.checkpoints, 'checkpoint')} of {byte_size(bound.checkpoint_bytes)}"
    if limit_gb is not None and need > limit_gb * GB:
        limit = f"--disk-limit = {limit_gb:g} GB: the search may use up to {byte_size(need)} ({what})"
        raise UserError(f"{limit}; {_what_helps(bound, limit_gb * GB)}")
    if need - has > free:
        more = f"{path}: the search may use up to {byte_size(need - has)}{' more' if has else ''} ({what})"
        raise UserError(f"{more}, and {byte_size(free)} are free; {_what_helps(bound, free + has)}")
    others = ", ".join(f"{name} {byte_size(size)}" for name, size in bound.parts.items() if name != "checkpoints")
    needs = f"This search may use up to {byte_size(need)} in {path} ({what}; {others})"
    console.print(f"{needs}; {byte_size(free)} are free.")


def _what_helps(bound: DiskBound, limit: float) -> str:
    if bound.keeps and (keep := keep_for_limit(bound, limit)) > 0:
        return f"it fits with --keep-checkpoints {keep}"
    return "fewer --trials or fewer --concurrent ones need less, and so do smaller models"


def folder_bytes(path: Path) -> int:
    """Returns what the files in a folder take on the disk, without those that go meanwhile; 0 where it is not there."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def _blocks(size: float) -> int:
    return math.ceil(size / BLOCK) * BLOCK

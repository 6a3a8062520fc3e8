"""`--concurrent auto`: how many trials share this machine best, measured before a search.

Throw-away trainings run side by side, in a process each: one, two, three... at a time. Their joint speed is the sum of
their speeds, each relative to the same training alone (the weighted speedup of Snavely and Tullsen, 2000). So trainings
of different sizes can be added up. It ends where more of them do not pay, do not fit into memory, or are more than
there are trials or cores.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from salt_tune.resources.colocation import PATIENCE, OutOfMemory, Pace, TooSlow, available_ram, run_side_by_side
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, counted
from trainable.model.size import ModelSize

PAYS = 1.05  # more at a time have to train so many times the clips
MEMORY_SHARE = 0.92  # of what there is; the rest is for what no step here has asked for
TRIED_ALONE = 3  # configurations
MOST_CONTEXT = 10**9  # bytes of the GPU that a process takes before it asks for any
COSTS = ("batch_size", "micro_batch", "precision", "grad_checkpointing", "compile")  # fields beside the architecture
GB = 1e9


@dataclass(frozen=True)
class Row:
    """Some trials at a time, on one GPU or, without one, on the machine.

    Attributes:
        together: how many.
        speedup: clips a second of all together, relative to one alone.
        clips_per_second: of all together, were they all like the mean of those that were tried alone.
        memory_gb: peak memory of a trial, on the GPU where there is one.
        threads: of each trial.
    """

    together: int
    speedup: float
    clips_per_second: float
    memory_gb: float
    threads: int


@dataclass(frozen=True)
class Packing:
    """What each trial gets of the machine.

    Attributes:
        concurrent: trials at a time.
        cpus: threads of each.
        gpus: share of a GPU of each.
        rows: what was measured.
        why: the reason, for people.
    """

    concurrent: int
    cpus: int
    gpus: float
    rows: tuple[Row, ...]
    why: str


def measure_packing(
    hyperparameters: Sequence[dict[str, Any]],
    sizes: Sequence[ModelSize],
    store: Path,
    *,
    evaluation: dict[str, Any],
    cores: int,
    gpus: int,
    most: int,
) -> Packing:
    """Measures how many trials at a time train the most clips a second, in some seconds to a few minutes.

    Args:
        hyperparameters: of the first suggestions, fields of `TrialConfig`.
        sizes: of their models.
        store: folder of the clip store.
        evaluation: what trials are judged on, fields of `EvaluationConfig`.
        cores: of the CPU.
        gpus: how many there are; each takes as many trials as the first.
        most: trials at a time at most.

    Raises:
        UserError: a configuration does not fit the store.
    """
    share = max(1, gpus)
    limit = min(math.ceil(most / share), max(1, cores // share))
    limited = f"there are {counted(most, 'trial')} and {counted(cores, 'core')}"
    together, why, rows = 1, f"one at a time: {limited}", []
    if limit > 1:
        what = "measuring how many trials share this machine best"
        with console.status(what) as status:
            machine = _Machine(store, evaluation, cores // share, gpus, lambda doing: status.update(f"{what}: {doing}"))
            together, why = machine.fill(by_demand(hyperparameters, sizes), limit, limited)
            rows = machine.rows
    concurrent = min(most, together * share)
    on_each = f", on each of {gpus} GPUs" if gpus > 1 else ""
    return Packing(
        concurrent, max(1, cores // concurrent), 1 / together if gpus else 0.0, tuple(rows), f"{why}{on_each}"
    )


def by_demand(hyperparameters: Sequence[dict[str, Any]], sizes: Sequence[ModelSize]) -> list[dict[str, Any]]:
    """Returns the configurations with different steps, each once: the costliest, the largest, the middle, the rest."""
    distinct: dict[tuple[Any, ...], tuple[ModelSize, dict[str, Any]]] = {}
    for values, size in zip(hyperparameters, sizes, strict=True):
        distinct[size, *(values.get(name) for name in COSTS)] = size, values
    falling = sorted(distinct, key=lambda key: -distinct[key][0].tflop_per_step)
    largest = max(falling, key=lambda key: distinct[key][0].checkpoint_bytes)
    first = (falling[0], largest, falling[len(falling) // 2])
    return [distinct[key][1] for key in dict.fromkeys([*first, *falling])]


def best_count(
    speedup: Callable[[int], float], refusal: Callable[[int], str | None], limit: int, limited: str
) -> tuple[int, str]:
    """Returns how many trainings run best at a time, and why.

    Args:
        speedup: measures so many together, relative to one; may raise `OutOfMemory` or `TooSlow`.
        refusal: says why so many cannot be tried; None: they can.
        limit: how many at most.
        limited: why no more.
    """
    best, reached, reason = 1, 1.0, limited
    while best < limit:
        step = max(1, 1 << (best.bit_length() - 2)) if best > 1 else 1  # 1, 2, 3, 4, 6, 8, 12, 16...
        counts = range(min(best + step, limit), best, -1)
        count = next((count for count in counts if refusal(count) is None), None)
        if count is None:
            reason = str(refusal(best + 1))
            break
        try:
            now = speedup(count)
        except (OutOfMemory, TooSlow) as problem:
            late = f"were not measured within {PATIENCE:.0f} s"
            reason = f"{_number(count)} {late if isinstance(problem, TooSlow) else 'run out of memory'}"
            break
        if now < PAYS * reached:
            reason = _not_worth_it(best, count, now / reached)
            break
        best, reached = count, now
    if best == 1:
        return best, f"one at a time: {reason}"
    return best, f"{best} at a time: {best} together train {reached:.2f}x as many clips a second as 1; {reason}"


def _not_worth_it(best: int, count: int, ratio: float) -> str:
    if best == 1:
        return f"{_number(count)} together train {ratio:.2f}x as fast as one"
    return f"{count} add {ratio - 1:.0%} only" if ratio >= 1.005 else f"{count} are no faster"


class _Machine:
    """Runs trainings on the first GPU, or on the CPU, and keeps what came of it in `rows`."""

    def __init__(
        self, store: Path, evaluation: dict[str, Any], cores: int, gpus: int, say: Callable[[str], None]
    ) -> None:
        self.rows: list[Row] = []
        self._shared = {"store": str(store.absolute()), "device": "cuda" if gpus else "cpu", "cores": max(1, cores)}
        self._evaluation, self._gpus, self._say = evaluation, gpus, say
        self._alone: list[tuple[dict[str, Any], Pace]] = []
        self._ram = available_ram()

    def fill(self, candidates: list[dict[str, Any]], limit: int, limited: str) -> tuple[int, str]:
        """Returns how many run at a time, and why."""
        try:
            lost = self._run_alone(candidates)
        except TooSlow:
            return 1, f"one at a time: not even one could be measured within {PATIENCE:.0f} s"
        remark = f"; {lost} of {counted(len(candidates), 'configuration')} ran out of memory alone" if lost else ""
        if not self._alone:
            return 1, f"one at a time{remark}"
        self.rows.append(self._row(1, 1.0, [pace for _, pace in self._alone]))
        count, why = best_count(self._speedup, self._refusal, limit, limited)
        return count, why + remark

    def _run_alone(self, candidates: list[dict[str, Any]]) -> int:
        """Runs a few of them alone, and counts those that ran out of memory."""
        lost = 0
        for number, values in enumerate(candidates):
            if len(self._alone) == TRIED_ALONE or lost == TRIED_ALONE:
                break
            self._say("one alone")
            try:
                if number == 0:
                    self._run([values])  # its pace would be that of a disk: now the clips are in the page cache
                self._alone.append((values, self._run([values], judge=True)[0]))
            except OutOfMemory:
                lost += 1
        return lost

    def _speedup(self, count: int) -> float:
        self._say(f"{_number(count)} together")
        chosen = [self._alone[number % len(self._alone)] for number in range(count)]
        paces = self._run([values for values, _ in chosen])
        pairs = zip(paces, (alone for _, alone in chosen), strict=True)
        speedup = sum(pace.clips_per_second / alone.clips_per_second for pace, alone in pairs)
        self.rows.append(self._row(count, speedup, paces))
        return speedup

    def _run(self, chosen: list[dict[str, Any]], *, judge: bool = False) -> list[Pace]:
        evaluation = self._evaluation if judge else None
        shared = {**self._shared, "threads": self._threads(len(chosen)), "evaluation": evaluation}
        return run_side_by_side([{**shared, "hyperparameters": values} for values in chosen])

    def _threads(self, count: int) -> int:
        return max(1, int(self._shared["cores"]) // count)

    def _row(self, count: int, speedup: float, paces: list[Pace]) -> Row:
        rate = fmean(alone.clips_per_second for _, alone in self._alone)
        memory = max(self._on_gpu(pace, count) if self._gpus else pace.ram for pace in paces)
        return Row(count, round(speedup, 3), round(speedup * rate, 2), round(memory / GB, 3), self._threads(count))

    def _on_gpu(self, pace: Pace, count: int = 1) -> float:
        """Returns the bytes of the GPU that each of `count` trainings has."""
        return (pace.used - self._of_others()) / count

    def _of_others(self) -> int:
        """Returns the bytes of the GPU that other programs have."""
        return min(max(0, alone.at_start - MOST_CONTEXT) for _, alone in self._alone)

    def _refusal(self, count: int) -> str | None:
        """Returns why so many do not fit into memory, if they do not."""
        alone = [pace for _, pace in self._alone]
        ram = max(pace.ram for pace in alone)
        if count * max(1, self._gpus) * ram > MEMORY_SHARE * self._ram:
            return f"{_number(count)} do not fit in {byte_size(self._ram)} of free memory (one takes {byte_size(ram)})"
        if not self._gpus:
            return None
        gpu, others, total = max(self._on_gpu(pace) for pace in alone), self._of_others(), alone[0].total
        if count * gpu + others > MEMORY_SHARE * total:
            used = f", other programs {byte_size(others)}" if others else ""
            return f"{_number(count)} do not fit in {byte_size(total)} (one takes {byte_size(gpu)}{used})"
        return None


def _number(count: int) -> str:
    return {1: "one", 2: "two", 3: "three"}.get(count, str(count))

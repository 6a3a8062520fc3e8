"""Rounds: what is compared runs in turn, in one process, as a machine's own speed drifts."""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Ratio(NamedTuple):
    """How many times as fast one is as the other: the geometric mean over rounds, and its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def alternate(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Runs all in turn, one round after the other; the first, which warms up, is not counted.

    Args:
        runs: what is run in each round, by name; each returns when the device is done.
        rounds: that count.

    Returns:
        Seconds of each, by name, shape (rounds,).
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: times[1:] for name, times in seconds.items()}


def ratio(slower: list[float], faster: list[float]) -> Ratio:
    """Compares seconds of the same rounds, by Student's t on the logarithms of their ratios.

    Args:
        slower: seconds of the one that is the measure; two rounds at least.
        faster: of the one that is said to be so many times as fast.
    """
    logs = np.log(np.array(slower) / np.array(faster))
    half = float(t.ppf(0.975, len(logs) - 1)) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    mean = float(logs.mean())
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))

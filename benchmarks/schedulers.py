"""`python -m benchmarks.schedulers --curves FILE [--configs FILE]`: schedulers on learning curves that are known.

Replays the curves through the classes that a search uses and through other libraries' schedulers, on a simulated clock
(docs/schedulers.md). `--synthetic KIND...` draws curves instead. `--frontier` compares methods at equal regret, and
`--learning` compares searchers. `--sensitivity` halves and doubles each constant of freeze_thaw. `--scale` measures the
time of a decision with 10,000 trials and 100 workers.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool as Processes
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay import curves, figures, frontier, synthetic
from benchmarks.replay.clock import Replay, Suggestions, replay
from benchmarks.replay.curves import Pool
from benchmarks.replay.figures import Table
from benchmarks.replay.methods import ALL, FRONTIER, LEARNING, RAY, RAY_1, SENSITIVITY, installed
from benchmarks.replay.report import describe, markdown, write
from benchmarks.replay.suggestions import InOrder, Learned

DECIMALS = 4


@dataclass(frozen=True)
class Setting:
    """What all methods have in common.

    Attributes:
        trials: of a search.
        full: steps of a full trial.
        repetitions: of each task.
    """

    trials: int
    full: int
    repetitions: int


def main() -> None:
    """Measures, prints a table and writes the figures."""
    arguments = _arguments()
    if arguments.scale:
        from benchmarks.replay.scale import measure

        measure()
        return
    setting = Setting(arguments.trials, arguments.full, arguments.repetitions)
    results: dict[str, Any] = {**describe(), "setting": vars(setting)}
    started = time.perf_counter()
    for name, pools in _sets(arguments, setting):
        results[name] = {"tasks": [pool.task for pool in pools]}
        contenders = _contenders(arguments)
        for workers in arguments.workers:
            print(f"\n## {name}, {workers} worker{'s' * (workers > 1)}\n", flush=True)
            with multiprocessing.get_context("fork").Pool(os.cpu_count()) as processes:
                compare = _at_equal_regret if arguments.frontier else _compare
                results[name][f"{workers} workers"] = compare(Replays(processes, pools, setting, workers), contenders)
            results["seconds"] = round(time.perf_counter() - started)
            if arguments.out:
                write(arguments.out, results)


def _contenders(arguments: argparse.Namespace) -> list[str]:
    known = SENSITIVITY if arguments.sensitivity else LEARNING if arguments.learning else installed()
    if arguments.frontier:
        known = {name: one for name, one in known.items() if name in FRONTIER}
    return [name for name in known if not arguments.methods or name in arguments.methods]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, nargs="*", default=[])
    parser.add_argument("--configs", type=Path)
    parser.add_argument("--synthetic", nargs="*", choices=synthetic.KINDS, default=[])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--full", type=int, default=27)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--methods", nargs="*", help="only these, and Ray's ASHA; default: all")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--learning", action="store_true", help="methods with searchers; needs --configs")
    which.add_argument("--frontier", action="store_true", help="searches of several sizes, and epochs at equal regret")
    which.add_argument("--sensitivity", action="store_true", help="freeze_thaw with each constant halved and doubled")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _sets(arguments: argparse.Namespace, setting: Setting) -> list[tuple[str, list[Pool]]]:
    sets = [(path.stem, curves.read(path, setting.full, arguments.configs)) for path in arguments.curves]
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.synthetic:
            file, configs = Path(folder, f"{kind}.parquet"), Path(folder, f"{kind}-configs.parquet")
            values, hyperparameters = synthetic.draw(kind, setting.full)
            curves.write(file, kind, values)
            curves.write_configs(configs, hyperparameters)
            sets.append((kind, curves.read(file, setting.full, configs)))
    return sets


@dataclass(frozen=True)
class Replays:
    """Replays of any method on the same pools, in several processes.

    Attributes:
        processes: that replay.
        pools: the tasks.
        setting: what all methods have in common.
        workers: of a search.
    """

    processes: Processes
    pools: list[Pool]
    setting: Setting
    workers: int

    def table(self, name: str) -> Table:
        """Replays the repetitions of a method."""
        jobs = [(pool, repetition) for pool in self.pools for repetition in range(self.setting.repetitions)]
        tasks = [(name, pool, repetition, self.setting, self.workers) for pool, repetition in jobs]
        replays = self.processes.starmap(_one, tasks, chunksize=5)
        pairs = [(pool, one) for (pool, _), one in zip(jobs, replays, strict=True)]
        return figures.tabulate(pairs, self.setting.trials * self.setting.full)

    @property
    def counts(self) -> NDArray[np.intp]:
        """How often each repetition is drawn, see `figures.interquartile_mean`."""
        return figures.resamples(len(self.pools), self.setting.repetitions)


def _compare(replays: Replays, contenders: list[str]) -> dict[str, Any]:
    """Returns the figures of each method; prints the table."""
    tables = {name: replays.table(name) for name in dict.fromkeys((RAY, RAY_1, *contenders))}
    references = {name: tables[name] for name in (RAY, RAY_1)}
    summaries = replays.processes.starmap(
        figures.summarise, [(table, references, replays.counts) for table in tables.values()], chunksize=1
    )
    rows = dict(zip(tables, summaries, strict=True))
    print(markdown(rows), flush=True)
    return rows


def _at_equal_regret(replays: Replays, contenders: list[str]) -> dict[str, Any]:
    """Prints and returns regret and epochs of searches of several sizes, and what they say at equal regret."""
    by_size = {size: replace(replays, setting=replace(replays.setting, trials=size)) for size in frontier.SIZES}
    tables = {
        name: {size: sized.table(name) for size, sized in by_size.items()} for name in dict.fromkeys((RAY, *contenders))
    }
    rows = frontier.summarise(tables, replays.counts, RAY)
    print(frontier.markdown(rows, RAY), flush=True)
    return rows


def _one(name: str, pool: Pool, repetition: int, setting: Setting, workers: int) -> Replay:
    random = np.random.default_rng([repetition, crc32(pool.task.encode())])
    order = random.permutation(len(pool))[: setting.trials].tolist()
    suggestions: Suggestions = InOrder(order)
    contender = ALL[name]
    if contender.searcher != "shared order":
        suggestions = Learned(contender.searcher, pool, setting.trials, repetition)
    with contender.applied():
        method = contender.make(setting.trials, setting.full)
        return replay(method, suggestions, pool, workers, seed=repetition % len(pool.values))


if __name__ == "__main__":
    main()

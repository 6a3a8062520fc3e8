"""`python -m benchmarks.schedulers --curves FILE [--configs FILE]`: schedulers on learning curves that are known.

Replays the curves through the classes that a search uses and through other libraries' schedulers, on a simulated clock
(docs/schedulers.md). `--synthetic KIND...` draws curves instead, `--learning` compares searchers,
`--sensitivity` halves and doubles each constant of freeze_thaw, `--scale` measures the time of a decision with 10,000
trials and 100 workers.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.replay import curves, figures, synthetic
from benchmarks.replay.clock import Proposals, Replay, replay
from benchmarks.replay.curves import Pool
from benchmarks.replay.methods import ALL, LEARNING, RAY, RAY_1, SENSITIVITY, installed
from benchmarks.replay.proposals import InOrder, Learned
from benchmarks.replay.report import describe, markdown, without_infinities

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
        contenders = [*(SENSITIVITY if arguments.sensitivity else LEARNING if arguments.learning else installed())]
        if arguments.methods:
            contenders = [name for name in contenders if name in arguments.methods]
        for workers in arguments.workers:
            print(f"\n## {name}, {workers} workers\n", flush=True)
            results[name][f"{workers} workers"] = _compare(pools, contenders, setting, workers)
            results["seconds"] = round(time.perf_counter() - started)
            if arguments.out:
                arguments.out.write_text(json.dumps(without_infinities(results), indent=1) + "\n", encoding="utf-8")


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


def _compare(pools: list[Pool], contenders: list[str], setting: Setting, workers: int) -> dict[str, Any]:
    """The figures of each method; prints the table."""
    counts = figures.resamples(len(pools), setting.repetitions)
    jobs = [(pool, repetition) for pool in pools for repetition in range(setting.repetitions)]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as processes:
        tables = {}
        for name in dict.fromkeys((RAY, RAY_1, *contenders)):
            tasks = [(name, pool, repetition, setting, workers) for pool, repetition in jobs]
            replays = processes.starmap(_one, tasks, chunksize=5)
            pairs = [(pool, one) for (pool, _), one in zip(jobs, replays, strict=True)]
            tables[name] = figures.tabulate(pairs, setting.trials * setting.full)
        references = {name: tables[name] for name in (RAY, RAY_1)}
        summaries = processes.starmap(
            figures.summarise, [(table, references, counts) for table in tables.values()], chunksize=1
        )
    rows = dict(zip(tables, summaries, strict=True))
    print(markdown(rows), flush=True)
    return rows


def _one(name: str, pool: Pool, repetition: int, setting: Setting, workers: int) -> Replay:
    random = np.random.default_rng([repetition, setting.trials, crc32(pool.task.encode())])
    order = random.choice(len(pool), setting.trials, replace=False).tolist()
    proposals: Proposals = InOrder(order)
    contender = ALL[name]
    if contender.searcher != "shared order":
        proposals = Learned(contender.searcher, pool, setting.trials, repetition)
    with contender.applied():
        method = contender.make(setting.trials, setting.full)
        return replay(method, proposals, pool, workers, seed=repetition % len(pool.values))


if __name__ == "__main__":
    main()

"""`python -m benchmarks.transfer --store STORE`: how well early signals predict what a long run comes to.

Trains configurations of a search space, each with several seeds, in three ways. They are a cosine over 3 epochs, as the
trials of a search; a cosine over 20; a constant rate to 20, with averaged weights. At 0.5, 1, 2 and 3 epochs it takes
every metric there is, combinations of them and predictions from them. Of each it measures how well it agrees with the
held-out loss and the linear probe after 20 epochs.

Measurements are kept in results/transfer-STORE-cpu.jsonl; the same command goes on from there, and makes the figures in
results/transfer-STORE-cpu.json, the tables in results/transfer-STORE-cpu.md and the pictures. `--quick` takes minutes
and says whether the command works, nothing else.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS
from benchmarks.transfer.bench import Bench, open_bench, train_in_process, untrained_panel
from benchmarks.transfer.plan import Plan, Run, draw_configs
from benchmarks.transfer.records import Records, errors_in_a_line, recording
from salt_tune.space.space_file import load_space
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.metrics import computed

SPACE = Path(__file__).parent / "space.yaml"
IMAGES = Path(__file__).parents[2] / "docs/images"


def main(arguments: list[str] | None = None) -> None:
    """Measures what is not known yet, then writes figures, tables and pictures."""
    asked = _parser().parse_args(arguments)
    with errors_in_a_line():
        _measure_and_report(asked)


def _measure_and_report(asked: argparse.Namespace) -> None:
    plan = plan_of(asked)
    store = StoreDataset.open(asked.store)
    name = f"transfer-{store.path.absolute().name}{'-quick' * asked.quick}"
    facts = {fact: value for fact, value in store.facts().items() if fact != "path"}
    evaluation = EvaluationConfig().to_dict()
    metrics = sorted({**computed("report"), **computed("probe")})
    experiment = {**plan.describe(), "store": facts, "evaluation": evaluation, "metrics": metrics}
    with recording(asked.out / f"{name}-cpu.jsonl", experiment) as records:
        train_all(plan, records, asked.store, asked.workers)
        _report(plan, records, store.store, facts, asked.images or (asked.out if asked.quick else IMAGES), name)


def plan_of(asked: argparse.Namespace) -> Plan:
    """Returns what the command line asks for."""
    count = asked.configurations or (6 if asked.quick else 16)
    plan = Plan(draw_configs(load_space(asked.space, {}), count), seeds=asked.seeds)
    if asked.quick:
        plan = replace(plan, short=1, long=2, early=(0.5, 1.0), between=(0.25,))
    plan = replace(plan, long=asked.long or plan.long)
    plan = plan.stretched(asked.stretch)
    if len(plan.configs) < 3:
        raise UserError(f"{asked.space}: has {len(plan.configs)} configurations, must be at least 3")
    if plan.long <= plan.short:
        raise UserError(f"--long = {plan.long}: must be above the {plan.short} epochs of a short run")
    return plan


def train_all(plan: Plan, records: Records, store: Path, workers: int) -> None:
    """Trains the runs that are not known to their end, in so many processes; with one, in this process."""
    known = frozenset(records.read())
    runs = [
        run
        for run in plan.runs()
        if any((run.config, run.seed, run.kind, point.epoch) not in known for point in plan.points(run.kind))
    ]
    progress = _Progress(plan, runs)
    if not runs:
        return
    if workers == 1:
        bench = Bench(store)
        for run in runs:
            bench.train(run, plan, records, known)
            progress.done(run)
        bench.close()
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that start now
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, open_bench, (store,)) as processes:
        jobs = [processes.submit(train_in_process, run, plan, records, known) for run in runs]
        try:
            for job in as_completed(jobs):
                progress.done(job.result())
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise


class _Progress:
    """Says after each run how long the rest will take."""

    def __init__(self, plan: Plan, runs: list[Run]) -> None:
        self._plan, self._started = plan, time.perf_counter()
        self._runs, self._done = len(runs), 0
        self._epochs, self._trained = sum(plan.epochs(run.kind) for run in runs), 0
        print(f"{len(plan.runs())} runs, {self._runs} of them to train: {self._epochs} epochs", flush=True)

    def done(self, run: Run) -> None:
        self._done += 1
        self._trained += self._plan.epochs(run.kind)
        passed = time.perf_counter() - self._started
        left = passed / self._trained * (self._epochs - self._trained)
        what = f"configuration {run.config}, seed {run.seed}, {run.kind}"
        print(f"{self._done} of {self._runs}: {what}; {passed / 60:.1f} min, {left / 60:.1f} left", flush=True)


def _report(plan: Plan, records: Records, store: ClipStore, facts: dict[str, Any], images: Path, name: str) -> None:
    # The processes that train import this module as well, and need nothing of these.
    from benchmarks.replay.report import describe, write
    from benchmarks.transfer import plots, results
    from benchmarks.transfer.signals import Measurements

    untrained = untrained_panel(store, plan)
    measurements = Measurements(records.read(), plan, untrained)
    findings = results.find(measurements)
    figures = {**describe(), "store": facts, "untrained": untrained, **results.figures(measurements, findings)}
    write(records.path.with_suffix(".json"), figures)
    tables = f"{results.markdown(findings, plan.early[-1])}\n\n{results.by_epoch(findings)}\n"
    records.path.with_suffix(".md").write_text(tables, encoding="utf-8")
    images.mkdir(parents=True, exist_ok=True)
    for kind, picture in (
        ("ranking", plots.ranking(findings, plan.early[-1])),
        ("epochs", plots.by_epoch(findings, plan)),
        ("scatter", plots.scatter(measurements, findings)),
    ):
        picture.savefig(images / f"{name}-{kind}.png")
    print(tables)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.transfer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="clip store with latents")
    parser.add_argument("--space", default=str(SPACE), help="search space that configurations are drawn from")
    parser.add_argument("--configurations", type=int, help="how many (default 16)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each (default 2)")
    parser.add_argument("--long", type=int, help="epochs of the long runs (default 20)")
    parser.add_argument("--stretch", type=int, default=1, help="so many times all epochs, on a store of few clips")
    parser.add_argument("--workers", type=int, default=2, help="processes that train, on one thread each (default 2)")
    parser.add_argument("--quick", action="store_true", help="6 configurations, 1 epoch against 2")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--images", type=Path, help="folder of the pictures (default docs/images)")
    return parser


if __name__ == "__main__":
    main()

"""`python -m benchmarks.step_options --store STORE`: what each option of a step does to speed and to the judge's panel.

Trains the first point of a space as a trial of its full length, with each option of `training_step/options.py` and
without, with three seeds. All are judged on the same held-out clips and masks, and by the same probe on the same folds.
Differences are paired by clip and seed; their 95% intervals count both. Learning rate and epochs are the same for all:
a larger batch makes fewer steps. Speed is measured first, each option and the training without in turn, by one thread.

Measurements are kept in results/step-options-STORE-cpu.jsonl, and the same command goes on from there. It makes the
figures in results/step-options-STORE-cpu.json and the table in results/step-options-STORE-cpu.md.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # as a trial of the demo on two cores; read as NumPy and torch are imported

import torch

from analysis.statistics.bootstrap import Difference
from benchmarks import machine
from benchmarks.training_step.effects import effects, means
from benchmarks.training_step.judged import BASE, device, train_and_judge
from benchmarks.training_step.options import Option, all_options
from benchmarks.training_step.rounds import Ratio
from benchmarks.training_step.speed import speed_of
from benchmarks.transfer.records import Record, Records, errors_in_a_line, recording
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import load_space
from trainable.config import TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError

ENDLESS = 10_000  # epochs of what is measured for speed alone
ROUNDS = 8
HEADER = ("option", "clips/s, times", "`val_loss`", "linear probe, points", "effective rank")


def main(arguments: list[str] | None = None) -> None:
    """Measures what is not known yet, then writes figures and table."""
    asked = _parser().parse_args(arguments)
    with errors_in_a_line():
        _measure_and_report(asked)


def _measure_and_report(asked: argparse.Namespace) -> None:
    space = load_space(asked.space, {})
    dataset = StoreDataset.open(asked.store)
    base = _base(space, asked.epochs)
    every = all_options(device(), base.batch_size, len(dataset.store.train))
    options = [each for each in every if each.judged and (not asked.options or each.name in asked.options)]
    _check_names(asked.options, every)
    facts = {fact: value for fact, value in dataset.facts().items() if fact != "path"}
    experiment = {"base": base.to_dict(), "evaluation": space.evaluation, "store": facts}
    name = f"step-options-{asked.store.absolute().name}-{'gpu' if torch.cuda.is_available() else 'cpu'}"
    with recording(asked.out / f"{name}.jsonl", experiment) as records:
        here = [option for option in options if torch.cuda.is_available() or not option.cuda_only]
        _measure_speeds(base, here, dataset, records)
        _judge(base, here, asked, space.evaluation, records)
        found = records.all()
    rows = {option.name: _row(option, found) for option in options}
    figures = {
        "store": asked.store.absolute().name,
        "without any option": {"seeds": asked.seeds, "epochs": base.epochs, **means(found, BASE.name)},
        "options": rows,
    }
    machine.write(name.rpartition("-")[0], figures, asked.out)
    text = table(rows, means(found, BASE.name))
    records.path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _base(space: SearchSpace, epochs: float | None) -> TrialConfig:
    """Returns the training that options are compared with: a trial, which never cools down."""
    config = {**space.config(space.start_from[0], seed=0), "cooldown": 0.0}
    return TrialConfig.from_dict({**config, "epochs": epochs or space.schedule.full})


def _check_names(names: list[str], options: list[Option]) -> None:
    known = [option.name for option in options if option.judged]
    for name in names:
        if name not in known:
            raise UserError(f"--options = {name!r}: must be of {', '.join(map(repr, known))}")


def _measure_speeds(base: TrialConfig, options: list[Option], dataset: StoreDataset, records: Records) -> None:
    torch.set_num_threads(1)
    known = {record["option"] for record in records.all() if "speed" in record or "seed" not in record}
    endless = base.replace(epochs=ENDLESS)
    for option in options:
        if option.name not in known:
            try:
                found: Record = {"speed": list(speed_of(endless, option, dataset.store, ROUNDS).ratio)}
            except RuntimeError as error:  # no such kernel, no compiler, not enough memory
                found = {"failed": str(error).strip().splitlines()[0]}
            records.append({"option": option.name, **found})
            print(f"speed, {option.name}: {found}", flush=True)


def _judge(
    base: TrialConfig, options: list[Option], asked: argparse.Namespace, evaluation: dict[str, Any], records: Records
) -> None:
    """Trains and judges all that is not known yet, the same seed of all options together."""
    known = {(record["option"], record["seed"]) for record in records.all() if "seed" in record}
    wanted = product(range(asked.seeds), (BASE, *options))
    left = [(seed, option.name) for seed, option in wanted if (option.name, seed) not in known]
    train = partial(_train, asked.store, evaluation, base)
    started = time.perf_counter()
    with ExitStack() as processes:
        done: Iterable[Record] = map(train, left)
        if asked.processes > 1:
            pool = processes.enter_context(ProcessPoolExecutor(asked.processes, get_context("spawn")))
            processes.callback(pool.shutdown, wait=False, cancel_futures=True)  # what waits, where this is stopped
            done = pool.map(train, left)
        for number, record in enumerate(done, start=1):
            records.append(record)
            passed = time.perf_counter() - started
            to_come = passed / number * (len(left) - number)
            words = f"{record['option']}, seed {record['seed']}"
            print(f"{number} of {len(left)}: {words}; {passed:.0f} s, {to_come:.0f} left", flush=True)


def _train(store: Path, evaluation: dict[str, Any], base: TrialConfig, job: tuple[int, str]) -> Record:
    seed, option = job
    return train_and_judge(store, evaluation, base.replace(seed=seed), option)


def _row(option: Option, records: list[Record]) -> dict[str, Any]:
    """Returns what is known of an option: its speed, and its differences, each with an interval; or why not."""
    if option.cuda_only and not torch.cuda.is_available():
        return {"why": "needs CUDA"}
    speed = next(record for record in records if record["option"] == option.name and "seed" not in record)
    if "failed" in speed:
        return {"why": f"failed: {speed['failed']}"}
    found = effects(records, option.name)
    if isinstance(found, str):
        return {"speed": speed["speed"], "why": found}
    return {"speed": speed["speed"], **{metric: _interval(each) for metric, each in found.items()}}


def _interval(difference: Difference) -> list[float]:
    return [difference.mean, difference.low, difference.high]


def table(rows: dict[str, dict[str, Any]], base: dict[str, float]) -> str:
    """Returns the table in Markdown: what the training without has, then of each option what it changes.

    Args:
        rows: of each option `speed`, `val_loss`, `probe` and `effective_rank` with their intervals, or `why` not.
        base: the means of the training without.
    """
    lines = [HEADER, ("---",) * len(HEADER), *_cells(rows, base)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(rows: dict[str, dict[str, Any]], base: dict[str, float]) -> Iterator[tuple[str, ...]]:
    probe = f"{base['probe']:.1%}" if "probe" in base else ""
    loss, rank = (
        f"{base[name]:{form}}" if base else "" for name, form in (("val_loss", ".4f"), ("effective_rank", ".2f"))
    )
    yield BASE.name, "1", loss, probe, rank
    for name, row in rows.items():
        speed = str(Ratio(*row["speed"])) if "speed" in row else ""
        if "why" in row:
            yield name, speed, row["why"], "", ""
        else:
            points = _signed([100 * each for each in row["probe"]], ".1f") if "probe" in row else "no labels"
            yield name, speed, _signed(row["val_loss"], ".4f"), points, _signed(row["effective_rank"], ".2f")


def _signed(interval: list[float], form: str) -> str:
    mean, low, high = (f"{value:+{form}}" for value in interval)
    return f"{mean} [{low}, {high}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.step_options", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="clip store with latents")
    parser.add_argument("--space", default="demo", help="whose first point, length and evaluation are taken")
    parser.add_argument("--epochs", type=float, help="of each training [default: the space's]")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each option, at least 2 (default 3)")
    parser.add_argument("--options", nargs="*", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--processes", type=int, default=_processes(), help="that train at a time")
    parser.add_argument("--out", type=Path, default=machine.RESULTS, help="folder of the results")
    return parser


def _processes() -> int:
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()

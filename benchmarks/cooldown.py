"""`python -m benchmarks.cooldown --store STORE [--space SPACE]`: what a cooldown is worth, and going on from a trial.

Trains the first point that a space starts from, at half, once and twice its learning rate, with three seeds each:
- a trunk under wsd to the end, judged by its averaged weights;
- the same trunk, cooled down over the last fifth by each shape, judged by its weights and by their average;
- a cosine from scratch over as many epochs, with the weight decay of the seed and of V-JEPA.

Says the differences from the cosine, and those that the cooldown itself makes, with 95% intervals over the pairs, which
share learning rate and seed. The trunk begins with what a search has trained anyway: `--trial-epochs` of it are not
paid for again.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # as a trial of the demo on two cores; read as NumPy and torch are imported

import numpy as np
from scipy.stats import bootstrap

from benchmarks import machine
from salt_tune.space.space_file import load_space
from trainable.config import TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.judged import Judgeable
from trainable.memory import limit_process
from trainable.registry import COOLDOWNS
from trainable.train.training import Training

FACTORS = (0.5, 1.0, 2.0)  # of the learning rate
SEEDS = 3
HORIZON = 0.1  # of averaged weights
COOLDOWN = 0.2
MEASURED = ("val_loss", "probe_top1", "effective_rank")
COSINE = "cosine from scratch, weights"
TRUNK = "not cooled down, averaged weights"

Measures = dict[str, dict[str, Any]]


def main() -> None:
    """Measures and writes results/cooldown-STORE-cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--space", default="demo", help="whose start, and evaluation, are taken")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--trial-epochs", type=float, default=3, help="that a search has trained of the trunk")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    space = load_space(given.space, {})
    config = TrialConfig.from_dict({**space.config(space.start_from[0], seed=0), "epochs": given.epochs})
    configs = [config.replace(lr=config.lr * factor, seed=seed) for seed, factor in product(range(SEEDS), FACTORS)]
    train = partial(_train, given.store, space.evaluation)
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as processes:
        measured = []
        for number, ways in enumerate(processes.map(train, configs), start=1):
            measured.append(ways)
            print(f"{number} of {len(configs)}", flush=True)
    figures = {
        "store": f"{given.store.name}, {given.epochs} epochs, learning rates around {config.lr:g}, {SEEDS} seeds",
        "epochs beside the search, going on and cooling down": given.epochs - given.trial_epochs,
        "epochs beside the search, cosine from scratch": given.epochs,
        **dict(compared(measured)),
        "all": [{"lr": one.lr, "seed": one.seed, **ways} for one, ways in zip(configs, measured, strict=True)],
    }
    machine.write(f"cooldown-{given.store.name}", figures)


def _train(store_path: Path, evaluation: dict[str, Any], config: TrialConfig) -> Measures:
    """Trains all ways of one configuration and seed, and returns their measures."""
    limit_process(threads=1, gpu_share=1.0)
    store = StoreDataset.open(store_path).store
    evaluator = Evaluator(store, EvaluationConfig(**evaluation), device="cpu")
    found: Measures = {}

    def judged(name: str, training: Training) -> None:
        training.train_to(training.total_steps)
        ways: dict[str, Judgeable] = {"weights": training}
        if training.averaged is not None:
            ways["averaged weights"] = training.averaged
        for which, model in ways.items():
            values = measure(judged_by := evaluator.judge(model), "report") | measure(judged_by, "probe")
            found[f"{name}, {which}"] = {metric: values.get(metric) for metric in MEASURED}

    trunk = Training(config.replace(lr_schedule="wsd", cooldown=0.0, ema=HORIZON), store, device="cpu")
    trunk.train_to(round(trunk.total_steps * (1 - COOLDOWN)))
    state = trunk.state_dict()
    state = {**state, "tensors": {name: tensor.clone() for name, tensor in state["tensors"].items()}}
    for shape in COOLDOWNS:
        cooled = Training(trunk.config.replace(cooldown=COOLDOWN, cooldown_shape=shape), store, device="cpu")
        cooled.load_state_dict(state)
        judged(f"cooled down, {shape}", cooled)
        cooled.close()
    judged("not cooled down", trunk)
    trunk.close()
    cosine = Training(config.replace(lr_schedule="cosine", ema=0.0, warmup_steps=None, warmup=0.1), store, device="cpu")
    judged("cosine from scratch", cosine)
    cosine.close()
    evaluator.close()
    return found


def compared(measured: list[Measures]) -> Iterator[tuple[str, str]]:
    """Yields of each way the means, and their differences from the cosine and from the trunk.

    Args:
        measured: of each pair of learning rate and seed the measures by way.
    """
    for way in measured[0]:
        means = [_mean([ways[way][metric] for ways in measured], metric) for metric in MEASURED]
        yield way, "; ".join(means)
    for way in measured[0]:
        for base, name in ((COSINE, "the cosine"), (TRUNK, "the trunk's averaged weights")):
            if way not in (COSINE, TRUNK) or (way, base) == (TRUNK, COSINE):
                yield f"{way}, less {name}", "; ".join(_differences(measured, way, base))


def _mean(values: list[float | None], metric: str) -> str:
    known = [value for value in values if value is not None]
    return f"{metric} {np.mean(known):.4g}" if known else f"{metric} unknown"


def _differences(measured: list[Measures], way: str, base: str) -> Iterator[str]:
    """Yields of each metric the mean difference over the pairs, with its interval."""
    for metric in MEASURED:
        pairs = [(ways[way][metric], ways[base][metric]) for ways in measured]
        values = np.array([pair for pair in pairs if None not in pair], dtype=np.float64)
        if len(values) > 1:
            found = values[:, 0] - values[:, 1]
            low, high = bootstrap((found,), np.mean, rng=np.random.default_rng(0)).confidence_interval
            yield f"{metric} {found.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()

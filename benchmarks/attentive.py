"""`python -m benchmarks.attentive [--store PATH] [--seeds N] [--steps N...]`: what the attentive probe costs and says.

Probes the first point of the demo's space after a full trial, untrained students and the teacher's latents, with the
panel's linear probe beside it. Each seed trains a student of its own, and draws its own folds. Without --store it makes
the demo's store. --steps tries other numbers of optimiser steps.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import load_space
from salt_tune.stores.demo import DEMO_CLIPS
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.answers import Answers, value_fields
from trainable.evaluate.attentive_probe import GRID
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.features import latent_features
from trainable.evaluate.judged import Probed
from trainable.evaluate.token_features import latent_tokens
from trainable.train.training import Training

METRICS = ("attentive_top1", "probe_top1")


def main() -> None:
    """Measures and writes results/attentive-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a clip store [default: the demo's, made anew]")
    parser.add_argument("--space", default="demo", help="whose first point, schedule and evaluation are taken")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="*", help="of optimisers at least [default: the space's]")
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        space = load_space(given.space, {})
        store = ClipStore.open(given.store or _demo_store(Path(folder)))
        evaluation = EvaluationConfig(**space.evaluation)
        steps = given.steps or [evaluation.attentive_steps]
        machine.write("attentive", _measure(space, store, evaluation, given.seeds, steps))


def _demo_store(folder: Path) -> Path:
    made = ["--synthetic", str(DEMO_CLIPS), "--store", str(folder / "demo")]
    subprocess.run([sys.executable, "-m", "salt_tune.prepare", *made], check=True)
    return folder / "demo"


def _measure(
    space: SearchSpace, store: ClipStore, evaluation: EvaluationConfig, seeds: int, all_steps: list[int]
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "clips": f"{len(store.train)} training, {len(store.val)} held out; {evaluation.panel_clips} probed at most",
        "view": f"{store.view.frames} x {store.view.size} x {store.view.size}, {store.view.tokens} tokens",
        "probes": f"{len(GRID)} settings x {evaluation.folds} folds",
        "epochs trained": space.schedule.full,
    }
    for seed in range(seeds):
        config = TrialConfig.from_dict(space.config(space.start_from[0], seed=seed))
        training = Training(config, store, device="cuda" if torch.cuda.is_available() else "cpu")
        for name in ("untrained", "trained", "teacher"):
            if name == "trained":
                training.train_to(training.total_steps)
            for steps in all_steps:
                evaluator = Evaluator(
                    store, replace(evaluation, seed=seed, attentive_steps=steps), device=training.device
                )
                judged: Probed = evaluator.judge(training.outcome)
                if name == "teacher":
                    judged = _teacher(evaluator)
                figures[f"{name}, seed {seed}, {steps} steps"] = _said(judged)
                evaluator.close()
                print(
                    f"{name}, seed {seed}, {steps} steps: {figures[f'{name}, seed {seed}, {steps} steps']}", flush=True
                )
        training.close()
    return figures


def _teacher(evaluator: Evaluator) -> Probed:
    on = evaluator.on
    return Probed(on, lambda: latent_features(on), lambda: latent_tokens(on))


def _said(judged: Probed) -> str:
    """Returns the accuracies with their intervals, and what the attentive probe took, in a line."""
    passed, tokens = _seconds(lambda: judged.tokens)
    fitted, _ = _seconds(lambda: judged.value("attentive_top1"))
    words = []
    for name in METRICS:
        value = judged.value(name)
        fields = value_fields(name, value)
        words.append(f"{name} {fields[name]:.3f} [{fields[f'{name}_low']:.3f}, {fields[f'{name}_high']:.3f}]")
        if name == "attentive_top1" and isinstance(value, Answers):
            words.append(f"by fold {np.round(value.accuracies, 2).tolist()}")
    size = tokens.numel() * tokens.element_size() / 1e6
    return f"{'; '.join(words)}; {passed:.1f} s to encode {size:.0f} MB of tokens, {fitted:.1f} s to fit"


def _seconds(do: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    done = do()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, done


if __name__ == "__main__":
    main()

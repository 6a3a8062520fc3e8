"""`python -m benchmarks.panel [--store PATH] [--space NAME]`: what the panel costs a trial, and what it says.

Trains the first point of a space to its end, as a trial is, and counts seconds: training, held-out losses, and each
part of the panel. Then says what chance, untrained students, raw pixels, the teacher's latents, and this and further
learning rates get; the last are to show where a student collapses. Without --store it makes the demo's store.

Processor seconds are counted, so that others on the machine matter less; on a GPU, seconds of the clock. The trial is
trained three times, and the one with the median share counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # as a trial of the demo on two cores; read as NumPy and torch are imported

import numpy as np
import torch

from analysis.verdict import COLLAPSED_BELOW
from benchmarks import machine
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import load_space
from salt_tune.stores.demo import DEMO_CLIPS
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.cross_validate import cross_validate
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.judged import Judged
from trainable.evaluate.panel_baselines import PanelBaselines, baselines_beside
from trainable.metrics import computed
from trainable.train.training import Training

RATES = (5e-3, 1e-2)  # at which the demo's students collapse
TIMES = 3
PANEL = [name for name, metric in computed("probe").items() if metric.panel]


def main() -> None:
    """Measures and writes results/panel-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a clip store [default: the demo's, made anew]")
    parser.add_argument("--space", default="demo", help="whose first point, schedule and evaluation are taken")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES, help="further learning rates")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = load_space(given.space, {})
        store = ClipStore.open(given.store or _demo_store(Path(folder)))
        evaluation = EvaluationConfig(**space.evaluation)
        evaluator = Evaluator(store, evaluation, device=_device(), baselines=Path(folder) / "baselines")
        figures = _measure(space, store, evaluator, given.rates)
        evaluator.close()
    machine.write("panel", figures)


def _demo_store(folder: Path) -> Path:
    made = ["--synthetic", str(DEMO_CLIPS), "--store", str(folder / "demo")]
    subprocess.run([sys.executable, "-m", "salt_tune.prepare", *made], check=True)
    return folder / "demo"


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _measure(space: SearchSpace, store: ClipStore, evaluator: Evaluator, rates: list[float]) -> dict[str, Any]:
    seconds: dict[str, float] = defaultdict(float)
    points = space.probe_points()
    config = TrialConfig.from_dict(space.config(space.start_from[0], seed=0)).replace(cooldown=0.0)  # as a trial
    panel = evaluator.on.panel
    with _counted(seconds, "folds, once a process"):
        _ = panel.folds
    trials: list[dict[str, float]] = [defaultdict(float) for _ in range(TIMES)]
    judged = [_train(space, config, store, evaluator, spent) for spent in trials][-1]
    with _counted(seconds, "baselines, once an architecture"):
        beside = baselines_beside(judged)
    found = {f"learning rate {config.lr:g}": _said(measure(judged, "probe"), beside)}
    for lr in rates:
        other = _train(space, config.replace(lr=lr), store, evaluator, defaultdict(float))
        found[f"learning rate {lr:g}"] = _said(measure(other, "probe"), beside)
    trial = sorted(trials, key=_share)[TIMES // 2]
    return {
        "store, clips": f"{len(store.train)} training, {len(store.val)} held out",
        "view": f"{store.view.frames} x {store.view.size} x {store.view.size}, {store.view.tokens} tokens",
        "panel": f"{len(panel.ids)} clips, {int(panel.label_free.sum())} of them for probes without labels, "
        f"{int(panel.viewed.sum())} for LiDAR; {len(panel.folds)} repeats of {1 + panel.folds.max()} folds",
        "probe points": f"{', '.join(f'{point:g}' for point in points)} of {space.schedule.full:g}",
        **{f"seconds, {name}": round(value, 2) for name, value in seconds.items()},
        **{f"seconds a trial, {name}": round(value, 2) for name, value in trial.items()},
        "share of a trial's time, panel": round(_share(trial), 3),
        **{name: _said(fields, beside) for name, fields in beside.fields.items()},
        **found,
        "untrained probe_top1, penalty by the smallest error": _by_error(judged, store, evaluator),
    }


def _share(trial: Mapping[str, float]) -> float:
    """Returns the panel's share of a trial's seconds."""
    return sum(value for name, value in trial.items() if name in ("features", *PANEL)) / sum(trial.values())


def _train(
    space: SearchSpace, config: TrialConfig, store: ClipStore, evaluator: Evaluator, seconds: dict[str, float]
) -> Judged:
    """Trains as a trial is trained, and counts where the seconds go."""
    training = Training(config, store, device=_device())
    full, probed = space.schedule.full, space.probe_points()
    judged = evaluator.judge(training)
    for point in space.schedule.report_points():
        with _counted(seconds, "training"):
            training.train_to(round(training.total_steps * point / full))
        judged = evaluator.judge(training)
        with _counted(seconds, "held-out losses"):
            measure(judged, "report")
        if point in probed:
            with _counted(seconds, "features"):
                _ = judged.features
            for name in PANEL:
                with _counted(seconds, name):
                    judged.value(name)
    training.close()
    return judged


def _said(fields: Mapping[str, Any], beside: PanelBaselines) -> str:
    """Returns a report's accuracies with their intervals, its ranks with their shares, and its verdict, in a line."""
    words = []
    for name in [*PANEL, "above_untrained"]:
        value, low = fields.get(name), fields.get(f"{name}_low")
        untrained = beside.fields["untrained"].get(name)
        if value is not None:
            interval = f" [{low:.3f}, {fields[f'{name}_high']:.3f}]" if low is not None else ""
            share = f" ({value / untrained:.2f} of untrained)" if name in COLLAPSED_BELOW and untrained else ""
            words.append(f"{name} {value:.3f}{interval}{share}")
    return "; ".join([*words, *([str(fields["verdict"])] if fields.get("verdict") else [])])


def _by_error(judged: Judged, store: ClipStore, evaluator: Evaluator) -> float | None:
    """Returns what a linear probe reads off an untrained student whose penalty has the smallest leave-one-out error."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    training = Training(judged.model.config.replace(seed=0), store, device=_device())
    panel, whole = evaluator.on.panel, evaluator.judge(training).features.whole
    training.close()
    clips = np.flatnonzero(panel.labelled)
    answers = cross_validate(
        lambda features: make_pipeline(StandardScaler(), RidgeClassifierCV(features.shape[1] * np.logspace(-4, 1, 6))),
        whole[clips].reshape(len(clips), whole[0].size),
        panel.labels[clips],
        clips,
        panel.folds,
    )
    return None if answers is None else round(answers.estimate().mean, 3)


@contextmanager
def _counted(seconds: dict[str, float], name: str) -> Iterator[None]:
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[name] += clock() - started


if __name__ == "__main__":
    main()

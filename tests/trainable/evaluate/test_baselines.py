"""The baselines are what they are called, on the tokens that trials are judged on, and on no others."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.small_store import build_store
from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.baselines import BASELINE_NAMES, Baselines, baseline_losses
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.held_out_loss import val_loss, val_r2
from trainable.masking.masks import Masks


@pytest.fixture(scope="module", params=["float16", "int8"])
def store(request: pytest.FixtureRequest, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return build_store(tmp_path_factory.mktemp("stores") / "store", videos, latents=request.param)


Grid = tuple[int, int, int]


def brute_force_nearest(grid: Grid, visible: list[int], token: int) -> int:
    """Every visible token is tried, the first of the nearest wins."""
    places = list(itertools.product(*map(range, grid)))

    def distance(other: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(places[token], places[other], strict=True))

    return min(visible, key=lambda other: (distance(other), other))


def brute_force(store: ClipStore, config: EvaluationConfig, names: list[str]) -> Baselines:
    """Token by token, in float64, on the clips of those names."""
    masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
    errors: dict[str, list[float]] = {name: [] for name in BASELINE_NAMES}
    for name in names:
        clip = store.val.ids.index(name)
        latents = store.latents(store.val, clip).astype(np.float64)
        drawn = masks.draw(0, store.val.keys[[clip]])
        under = zip(drawn.visible[0].tolist(), drawn.masked[0].tolist(), strict=True)
        for visible, token in ((visible, token) for visible, masked in under for token in masked):
            guesses = {
                "training_mean": store.teacher.mean,
                "position_mean": store.position_mean[token].astype(np.float64),
                "nearest_visible": latents[brute_force_nearest(store.view.grid, visible, token)],
            }
            for kind, guess in guesses.items():
                errors[kind].append(float(np.square(latents[token] - guess).mean()))
    return Baselines(**{kind: float(np.mean(those)) for kind, those in errors.items()})


JUDGED_ON = [
    EvaluationConfig(),
    EvaluationConfig(clips=5, mask_ratio=0.4, masking="random", seed=3),
    EvaluationConfig(clips=11, mask_ratio=0.9, masking="tube", seed=1),
    EvaluationConfig(clips=7, mask_ratio=0.6, masking="multiblock_both", seed=2),
]


@pytest.mark.parametrize("config", JUDGED_ON, ids=lambda config: config.masking)
def test_baselines_are_the_errors_token_by_token(store: ClipStore, config: EvaluationConfig) -> None:
    evaluator = Evaluator(store, config)
    expected = brute_force(store, config, evaluator.clip_ids)
    evaluator.close()
    assert baseline_losses(store, config).to_dict() == pytest.approx(expected.to_dict(), rel=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"mask_ratio": 0.3}, {"loss": "l1"}, {"masking": "random"}, {"batch_size": 5, "lr": 1.0, "seed": 9}]
)
@pytest.mark.parametrize("config", JUDGED_ON, ids=lambda config: config.masking)
def test_the_training_mean_is_what_val_r2_is_measured_against(
    store: ClipStore, make_training: MakeTraining, config: EvaluationConfig, changes: dict[str, Any]
) -> None:
    """Whatever a trial trains with."""
    evaluator = Evaluator(store, config)
    judged = evaluator.judge(make_training(**changes))
    baseline = val_loss(judged) / (1 - val_r2(judged))
    evaluator.close()
    assert baseline_losses(store, config).training_mean == pytest.approx(baseline, rel=1e-5)


def test_baselines_depend_on_what_is_judged(store: ClipStore) -> None:
    first, again, other = (baseline_losses(store, EvaluationConfig(clips=4, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert baseline_losses(store, EvaluationConfig(batch_size=3, panel_clips=5)) == baseline_losses(
        store, EvaluationConfig()
    )


def test_the_best_has_the_smallest_error() -> None:
    assert Baselines(0.7, 0.6, 0.65).best == "position_mean"
    assert Baselines(0.7, 0.7, 0.65).best == "nearest_visible"
    assert list(Baselines(0.7, 0.6, 0.65).to_dict()) == list(BASELINE_NAMES)


def test_no_torch_is_needed() -> None:
    program = "import sys, trainable.evaluate.baselines; print(*{'torch', 'timm', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

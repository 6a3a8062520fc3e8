"""What a search needs before it begins: its store, checked against its space, and what ignorance would score on it."""

import contextlib
import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from salt_tune.prepare import DEMO_CLIPS, DEMO_STORE
from salt_tune.space.checks import blame, check_corners
from salt_tune.space.conditions import Values
from salt_tune.space.corners import corners, largest
from salt_tune.space.search_space import SearchSpace, SpaceError
from salt_tune.space.space_file import parse_value
from salt_tune.ui.console import console
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import ConfigError, UserError
from trainable.evaluate.baselines import References, reference_losses
from trainable.evaluate.config import EvaluationConfig
from trainable.masking.masks import Masks

MOST_BUILT = 48  # students, beside one of each name: a second's worth

Wrong = tuple[int, ConfigError] | None


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """The entries of --set, by their dotted names.

    Raises:
        click.UsageError: one of them is not KEY=VALUE.
    """
    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {setting}: must be KEY=VALUE, such as --set batch_size=16")
        parsed[key] = parse_value(value)
    return parsed


def open_store(path: Path | None) -> ClipStore:
    """The store to search on; the embedded default is prepared where it is not there yet."""
    if path is None and not DEMO_STORE.exists():
        console.print(f"No --store given: preparing {DEMO_STORE}, {DEMO_CLIPS} videos of moving shapes.")
        # In a process of its own, so that this one stays without torch.
        command = [
            sys.executable,
            "-m",
            "salt_tune.prepare",
            "--synthetic",
            str(DEMO_CLIPS),
            "--store",
            str(DEMO_STORE),
        ]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
    store = ClipStore.open(path or DEMO_STORE)
    _ = store.teacher  # refuses a store without latents
    return store


def check_store(path: Path, space: SearchSpace, store: ClipStore) -> None:
    """Checks every value of the space, and the evaluation, against the store.

    Raises:
        UserError: a batch that is too large, or a mask that leaves nothing.
    """
    check_corners(path, space, lambda config: config.check_data(store.view, len(store.train)))
    try:
        Masks(store.view, space.evaluation.masking, space.evaluation.mask_ratio, space.evaluation.seed)
    except UserError as error:
        raise UserError(f"{path}: evaluation.{error}") from error


def references_of(space: SearchSpace, store: ClipStore) -> References:
    """What predictors that learned nothing lose where the trials will be judged."""
    with console.status(f"reading {min(len(store.val), space.evaluation.clips)} held-out clips"):
        return reference_losses(store, EvaluationConfig(**space.evaluation.model_dump()))


def check_students(path: Path, space: SearchSpace, first_wrong: Callable[[list[dict[str, Any]]], Wrong]) -> None:
    """Checks what only timm can tell: whether the students of the space can be built.

    Args:
        path: file of the space.
        space: what is searched.
        first_wrong: which configuration's student cannot be built, and why, see `trainable.ray_trainable`.

    Raises:
        SpaceError: one cannot.
    """
    kinds: dict[tuple[Any, ...], tuple[str, Values, TrialConfig]] = {}
    for place, values in corners(space):
        config = space.config(values, seed=0)
        kinds.setdefault((config.student, config.student_dim, config.student_heads), (place, values, config))
    names = {config.student: kind for kind, (*_, config) in reversed(kinds.items())}
    rest = [kind for kind in kinds if kind not in names.values()]
    chosen = [kinds[kind] for kind in (*names.values(), *rest[:: math.ceil(len(rest) / MOST_BUILT) or 1])]
    wrong = first_wrong([config.replace(student_depth=1).to_dict() for *_, config in chosen])
    if wrong is not None:
        place, values, _ = chosen[wrong[0]]
        raise SpaceError(f"{path}: {blame(space, place, values, wrong[1])}") from wrong[1]


def largest_models(space: SearchSpace, seed: int) -> list[TrialConfig]:
    """For each student that the space may train, the configuration with the largest predictor."""
    found: dict[tuple[Any, ...], TrialConfig] = {}
    for values in itertools.chain(largest(space), (values for _, values in corners(space) if not found)):
        with contextlib.suppress(ConfigError):  # it will be a failed trial, should it be proposed
            config = space.config(values, seed)
            student = (config.student, config.student_dim, config.student_depth)
            if student not in found or _predictor_weights(config) > _predictor_weights(found[student]):
                found[student] = config
    return list(found.values())


def _predictor_weights(config: TrialConfig) -> int:
    return config.predictor_depth * config.predictor_dim**2

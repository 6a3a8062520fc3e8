"""What a space has to do with a store and with timm: batches and masks that fit, students that can be built."""

import contextlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from salt_tune.space.checks import blame, check_corners
from salt_tune.space.conditions import Values
from salt_tune.space.corners import corners, largest
from salt_tune.space.search_space import SearchSpace, SpaceError
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import ConfigError, UserError
from trainable.masking.masks import Masks

MOST_BUILT = 48  # students, beside one of each name: a second's worth

Wrong = tuple[int, ConfigError] | None


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


def check_students(path: Path, space: SearchSpace, first_wrong: Callable[[list[dict[str, Any]]], Wrong]) -> None:
    """Checks what timm alone can tell: whether the students of the space can be built.

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
    """Finds for each student that the space may train the configuration with the largest predictor."""
    found: dict[tuple[Any, ...], TrialConfig] = {}
    for values in itertools.chain(largest(space), (values for _, values in corners(space) if not found)):
        with contextlib.suppress(ConfigError):  # it will be a failed trial, should it be suggested
            config = space.config(values, seed)
            student = (config.student, config.student_dim, config.student_depth)
            if student not in found or _predictor_weights(config) > _predictor_weights(found[student]):
                found[student] = config
    return list(found.values())


def _predictor_weights(config: TrialConfig) -> int:
    return config.predictor_depth * config.predictor_dim**2

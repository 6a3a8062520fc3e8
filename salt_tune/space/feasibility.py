"""What a space has to do with its data and its models: values that fit the data, models that can be built."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from salt_tune.space.checks import blame, check_corners
from salt_tune.space.conditions import Values
from salt_tune.space.corners import corners, largest
from salt_tune.space.search_space import SearchSpace, SpaceError
from trainable.errors import ConfigError, UserError
from trainable.worker import Config, Dataset

Wrong = tuple[int, ConfigError] | None


def check_data(path: Path, space: SearchSpace, data: Dataset) -> None:
    """Checks every value of the space, and the evaluation, against the data.

    Raises:
        UserError: a value does not fit, such as a batch that is too large, or a mask that leaves nothing.
    """
    check_corners(path, space, lambda config: space.task.check(config, data))
    try:
        space.task.check_evaluation(space.evaluation, data)
    except UserError as error:
        raise UserError(f"{path}: evaluation.{error}") from error


def check_models(path: Path, space: SearchSpace, first_wrong: Callable[[list[Config]], Wrong]) -> None:
    """Checks what `Task.config` cannot tell: whether the models of the space can be built.

    Args:
        path: file of the space.
        space: what is searched.
        first_wrong: which configuration's model cannot be built, and why, see `Task.check_models`; is asked only where
            the task says what it depends on.

    Raises:
        SpaceError: one cannot.
    """
    kinds: dict[tuple[Any, ...], tuple[str, Values, Config]] = {}
    if not space.task.built_from:
        return
    for place, values in corners(space):
        config = space.config(values, seed=0)
        kinds.setdefault(tuple(config[name] for name in space.task.built_from), (place, values, config))
    chosen = [*kinds.values()]
    wrong = first_wrong([config for *_, config in chosen])
    if wrong is not None:
        place, values, _ = chosen[wrong[0]]
        raise SpaceError(f"{path}: {blame(space, place, values, wrong[1])}") from wrong[1]


def largest_models(space: SearchSpace, seed: int) -> list[Config]:
    """Returns the configurations of the space that may have the largest models, see `Task.largest`."""
    return space.task.largest(_fitting(space, largest(space), seed)) or space.task.largest(
        _fitting(space, (values for _, values in corners(space)), seed)
    )


def _fitting(space: SearchSpace, points: Iterator[Values], seed: int) -> Iterator[Config]:
    """Yields the configurations of points, without those that will be failed trials, should they be proposed."""
    for values in points:
        with contextlib.suppress(ConfigError):
            yield space.config(values, seed)

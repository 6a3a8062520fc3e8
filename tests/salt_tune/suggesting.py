"""Drives searchers as a search does, over parameters of every kind."""

from collections.abc import Mapping
from typing import Any

from salt_tune.registry import SEARCHERS
from salt_tune.searchers.base import Searcher
from salt_tune.space.conditions import Conditions
from salt_tune.space.parameters import Choice, Int, Parameter, Range

LR = Range(type="log_uniform", low=1e-5, high=1e-1)
MIXED: dict[str, Parameter] = {
    "lr": LR,
    "mask_ratio": Range(type="uniform", low=0.5, high=0.9),
    "depth": Int(type="int", low=1, high=12),
    "dim": Choice(type="choice", values=(64, 128, 192)),
}
LINE: dict[str, Parameter] = {"x": Range(type="uniform", low=0, high=1)}


def make(
    name: str,
    parameters: Mapping[str, Parameter],
    *,
    seed: int = 0,
    constants: Mapping[str, Any] | None = None,
    **options: Any,
) -> Searcher:
    """The searcher of that name."""
    return SEARCHERS[name](Conditions(parameters, constants or {}), seed=seed, **options)


def taken(searcher: Searcher, most: int) -> list[dict[str, Any]]:
    """The next suggestions, to the end where there is one."""
    made = []
    for number in range(most):
        values = searcher.suggest(f"T{number}")
        if values is None:
            break
        made.append(values)
    return made

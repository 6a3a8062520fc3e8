"""A small search-space file, and ways to write it wrongly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from salt_tune.space.search_space import SpaceError
from salt_tune.space.space_file import load_space

Edit = Callable[[dict[str, Any]], Any]


def content() -> dict[str, Any]:
    return {
        "name": "small",
        "fixed": {"student": "vit_tiny_patch16_224", "batch_size": 8},
        "parameters": {
            "lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2},
            "predictor_dim": {"type": "choice", "values": [64, 128]},
            "predictor_depth": {"type": "int", "low": 1, "high": 4},
        },
        "start_from": [{"lr": 3e-4}],
        "schedule": {"epochs": 3, "first_rung": 1, "reduction_factor": 3},
        "trials": 4,
    }


def write(folder: Path, value: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path


def put(dotted: str, value: Any) -> Edit:
    """An edit of the content above: the entry of this name becomes `value`."""

    def edit(space: dict[str, Any]) -> dict[str, Any]:
        *above, last = dotted.split(".")
        inner = space
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
        return space

    return edit


def refusal(path: Path, entry: str = "") -> str:
    """The one line that loading this file is refused with; it begins with the file and the `entry`."""
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), {})
    message = str(caught.value)
    assert message.startswith(f"{path}: {entry}") and "\n" not in message
    return message

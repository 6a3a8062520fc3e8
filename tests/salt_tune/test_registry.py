"""What a space can choose by name."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from salt_tune import registry as ours
from salt_tune.space.schedule import Schedule
from tests.salt_tune.made_trials import make_space


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"searcher": "tpee"}, "did you mean 'tpe'?"),
        ({"searcher": "bohb"}, "known are random, grid, sobol, tpe, gp"),
        ({"searcher": None}, "known are random, grid, sobol, tpe, gp"),
        ({"schedule": {"scheduler": "hyper_band"}}, "did you mean 'hyperband'?"),
        ({"schedule": {"scheduler": 3}}, "known are freeze_thaw, asha, asha_stop, median, hyperband, none"),
        ({"schedule": {"scheduler": ["asha"]}}, "did you mean 'asha'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(entries: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_space(**entries)
    assert words in str(caught.value)


def test_a_name_alone_loads_neither_ray_nor_torch() -> None:
    look = "import sys; from salt_tune.registry import *; [*SCHEDULERS.values()]; SEARCHERS['random']; "
    done = subprocess.run(
        [sys.executable, "-c", look + "print({'ray', 'torch'} & sys.modules.keys())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "set()\n"


def test_a_default_is_a_known_name() -> None:
    assert Schedule().scheduler in ours.SCHEDULERS
    assert make_space().searcher in ours.SEARCHERS

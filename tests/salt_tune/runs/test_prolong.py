"""What a final run goes on from: the longest trunk that fits, and never its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from analysis.run_directory.paths import RunDirectory
from salt_tune.runs.prolong import longest_trunk
from trainable.errors import UserError
from trainable.salt import SaltTask

TASK = SaltTask("salt")
TRIAL = {"id": "T0", "epochs": 2.0}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search that has trained T0 for 2 epochs, and final runs of it whose trunks are kept."""
    made = RunDirectory(tmp_path)
    made.checkpoints.mkdir()
    made.checkpoint("T0").touch()
    for epochs, anew in ((5, False), (10, False), (8, True)):
        final = made.final("T0", epochs, from_scratch=anew)
        final.path.mkdir(parents=True)
        note = json.dumps({"epoch": 0.8 * epochs})
        save_file({"weight": torch.zeros(1)}, final.trunk, metadata={"note": note})
    return made


def config(epochs: float, **changes: Any) -> dict[str, Any]:
    return TASK.config({"lr_schedule": "wsd", "epochs": epochs, **changes})


@pytest.mark.parametrize(("epochs", "begins"), [(3, 2.0), (5, 2.0), (6, 4.0), (10, 4.0), (11, 8.0), (100, 8.0)])
def test_the_longest_that_fits_is_taken(run: RunDirectory, epochs: int, begins: float) -> None:
    trunk = longest_trunk(run, TASK, TRIAL, config(epochs))
    assert trunk is not None and trunk.epoch == begins


def test_a_cosine_begins_anew(run: RunDirectory) -> None:
    assert longest_trunk(run, TASK, TRIAL, config(100, lr_schedule="cosine")) is None


def test_what_was_trained_for_longer_is_named(run: RunDirectory) -> None:
    with pytest.raises(
        UserError, match=r"^--epochs = 2: T0 was trained for 2 already, and this has 1\.6 to go on to; "
    ):
        longest_trunk(run, TASK, TRIAL, config(2))

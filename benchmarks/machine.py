"""What a figure was measured on, and where it is written."""

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def describe() -> str:
    """Describes the machine in a few words: a figure without it means nothing."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name().removeprefix("NVIDIA ")
    return f"{len(os.sched_getaffinity(0))} CPU cores ({platform.machine()}), no GPU"


def write(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> None:
    """Prints the figures and writes them to results/NAME-MACHINE.json, or to that file of another folder."""
    for key, value in save(name, figures, folder).items():
        print(f"{key:<64} {value}")


def save(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> dict[str, Any]:
    """Writes the figures, as far as there are any yet, and returns them with the machine, the date and torch."""
    figures = {"machine": describe(), "date": date.today().isoformat(), "torch": torch.__version__, **figures}
    folder.mkdir(parents=True, exist_ok=True)
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    (folder / f"{name}-{kind}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures

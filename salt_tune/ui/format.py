"""Numbers, bytes, durations, resources and commands as text, the same wherever they are shown."""

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from analysis.text import printable

LONGEST = 1e15  # from here on, a number's digits are not written out

# Of each resource the name of a point and of an amount: "epoch 1" but "3 epochs".
UNITS: Final[Mapping[str, tuple[str, str]]] = {
    "epoch": ("epoch", "epochs"),
    "tflop": ("TFLOP", "TFLOP"),
    "second": ("second", "seconds"),
}


def number(value: Any, digits: int = 3) -> str:
    """Formats a hyperparameter, a measure or an amount; what is no float stays as it is, and None is "-".

    Args:
        value: what is shown.
        digits: of a float below 1,000; larger ones get all that stand before the point.
    """
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < LONGEST else f"{value:.{digits}g}"
    return "-" if value is None else str(value)


def exact(value: float | None) -> str:
    """Formats a loss or an accuracy with four decimals, so that a column of them lines up; None is "-"."""
    return "-" if value is None else f"{value:.4f}"


def quantity(value: float) -> str:
    """Formats an amount of a resource without its unit: 0.3333, 12,346."""
    return number(float(value), digits=4)


def amount(value: float, resource: str) -> str:
    """Formats an amount of a resource with its unit: 1 epoch, 0.5 epochs, 12,000 TFLOP."""
    return f"{quantity(value)} {UNITS[resource][value != 1]}"


def counted(count: int, what: str) -> str:
    """Formats a number of things: 1 trial, 2 trials."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def progress(report: Mapping[str, Any], metrics: Collection[str]) -> str:
    """Formats what a training has come to: "val_loss 0.4321  val_r2 0.123  210 clips/s".

    Args:
        report: of the training.
        metrics: those to show, in this order.
    """
    digits = {"val_loss": ".4f", "val_r2": ".3f"}
    known = {name: report.get(name) for name in metrics}
    shown = [
        f"{name} {format(value, digits[name]) if name in digits and value is not None else number(value)}"
        for name, value in known.items()
    ]
    if "clips_per_second" in report:
        shown.append(f"{report['clips_per_second']:,.0f} clips/s")
    return "  ".join(shown)


def byte_size(count: float) -> str:
    """Formats bytes in three digits: 24.5 kB, 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.0f} TB" if count >= 99.95 else f"{count:.3g} TB"


def duration(seconds: float) -> str:
    """Formats seconds: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def heading(name: str) -> Text:
    """Breaks a column's name into short lines, so that a table of many columns fits a terminal."""
    shown = printable(name)
    return Text(re.sub(r" (?=[+-] )", "\n", shown) if " " in shown else shown.replace("_", "\n"))


def shell_command(module: str, *arguments: object) -> str:
    """Formats `python -m MODULE ARGUMENTS...` as a POSIX shell takes it: a space or a quote in a path stays one."""
    return shlex.join(["python", "-m", module, *map(str, arguments)])


def resume_command(run: Path) -> str:
    """Formats the command that goes on with a search."""
    return shell_command("salt_tune.search", "--resume", run)

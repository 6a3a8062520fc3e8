"""Reads what the steps of a training came to, a few at a time."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.errors import RunError
from analysis.tables.reports import STEP_NAMES

STEP_TYPES = {
    "step": "int64",
    "steps": "int64",
    **dict.fromkeys(("epoch", "train_loss", "grad_norm", "clipped_share", "step_lr"), "float64"),
}


def step_table(name: str, files: Mapping[str, Path]) -> pd.DataFrame:
    """Reads files of steps, below each other; those that are not there have no rows.

    Args:
        name: of the column that says whose they are.
        files: by that.

    Returns:
        The column `name`, and those of `STEP_TYPES`.

    Raises:
        RunError: a file cannot be read, or lacks a column.
    """
    types = {name: "str", **STEP_TYPES}
    tables = [pd.DataFrame(columns=list(types)).astype(types)]
    for whose, path in files.items():
        if path.is_file():
            tables.append(_read(path).assign(**{name: whose})[list(types)].astype(types))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).rename(columns=STEP_NAMES)[list(STEP_TYPES)]
    except (OSError, KeyError, ValueError) as error:  # pyarrow's are among them
        cause = str(error).splitlines()[0]
        raise RunError(f"{path}: cannot be read, and must hold the steps of a training: {cause}") from error

"""Reads the held-out loss of each clip, as a trial writes it at each report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import RunError


def read_clip_table(path: Path) -> pd.DataFrame:
    """Reads the file `path`, in its order.

    Returns:
        One row a clip: `clip`, `label` (missing where the task tells none), `loss` (float64).

    Raises:
        RunError: it cannot be read, lacks a column, or has a clip twice.
    """
    try:
        table = pq.read_table(path)
        clips = [str(clip) for clip in table["clip"].to_pylist()]
        labels = table["label"].to_pylist() if "label" in table.column_names else [None] * len(clips)
        losses = [float(loss) for loss in table["loss"].to_pylist()]
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(f"{path}: cannot be read, and must hold the columns clip and loss: {cause}") from error
    if len(set(clips)) < len(clips):
        raise RunError(f"{path}: has {len(clips)} rows of {len(set(clips))} clips, and must have each clip once")
    return pd.DataFrame({"clip": clips, "label": pd.Series(labels, dtype="str"), "loss": losses})


def read_time_slots(path: Path) -> pd.DataFrame:
    """Reads the loss by time slot from the file `path`.

    Returns:
        One row a time slot: `time_slot`, `loss` (the mean over the clips that have masked tokens there), `loss_se` (its
        standard error), `clips`; no rows where the task does not keep it.

    Raises:
        RunError: it cannot be read.
    """
    try:
        table = pq.read_table(path)
        rows = table["time_slot_losses"].to_pylist() if "time_slot_losses" in table.column_names else [[]]
        losses = np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]))
    except (OSError, TypeError, ValueError, pa.ArrowException) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(f"{path}: cannot be read, and must hold a list of losses a clip: {cause}") from error
    by_slot = pd.DataFrame(losses)
    return pd.DataFrame(
        {
            "time_slot": range(losses.shape[1]),
            "loss": by_slot.mean(),
            "loss_se": by_slot.sem(),
            "clips": by_slot.count(),
        }
    )


def read_clip_losses(path: Path) -> dict[str, float]:
    """Reads the loss by clip in the file `path`, in its order; see `read_clip_table`."""
    table = read_clip_table(path)
    return dict(zip(table["clip"], table["loss"], strict=True))

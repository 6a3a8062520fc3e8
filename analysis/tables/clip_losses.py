"""Reads the held-out loss of each clip, as a trial writes it at each report."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import RunError


def read_clip_losses(path: Path) -> dict[str, float]:
    """Reads the loss by clip in the file `path`, in its order.

    Raises:
        RunError: it cannot be read, lacks a column, or has a clip twice.
    """
    try:
        table = pq.read_table(path, columns=["clip", "loss"])
        clips, losses = table["clip"].to_pylist(), table["loss"].to_pylist()
        by_clip = {str(clip): float(loss) for clip, loss in zip(clips, losses, strict=True)}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(f"{path}: cannot be read, and must hold the columns clip and loss: {cause}") from error
    if len(by_clip) < len(clips):
        raise RunError(f"{path}: has {len(clips)} rows of {len(by_clip)} clips, and must have each clip once")
    return by_clip

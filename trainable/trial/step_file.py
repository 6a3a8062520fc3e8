"""The file of a training's steps: what each few of them came to, as docs/run-directory.md says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainable.files import atomic_write
from trainable.train.training import Training

SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "steps": pa.int64(),
        "epoch": pa.float64(),
        "train_loss": pa.float32(),
        "grad_norm": pa.float32(),
        "clipped_share": pa.float32(),
        "lr": pa.float64(),
    }
)


def add_steps(path: Path, training: Training) -> None:
    """Adds the windows of the last report to the file of a training, which is replaced as a whole.

    Rows from where they begin on are of steps that were lost with a process, and are made again: these go. A file that
    cannot be read begins anew, for nothing follows from it.

    Args:
        path: the file, there or not.
        training: has just reported; without a step since the report before, nothing is written.

    Raises:
        OSError: the disk is full or broken.
    """
    if not training.windows:
        return
    begin = training.windows[0].step - training.windows[0].steps
    rows = [
        {
            **vars(window),
            "epoch": window.step / training.steps_per_epoch,
            "lr": training.rates(window.step).learning_rate,
        }
        for window in training.windows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables([_read(path, begin), pa.Table.from_pylist(rows, SCHEMA)])
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


def _read(path: Path, until: int) -> pa.Table:
    """Returns the rows up to a step."""
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException):
        return SCHEMA.empty_table()
    return table.filter(pc.field("step") <= until)

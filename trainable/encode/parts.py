"""The file of features: Parquet, in parts until it is whole, each of which is there whole or not at all."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.encode.job import COMPARED, Job, Part
from trainable.errors import UserError, VideoError
from trainable.files import atomic_write, sync_folder, write_json

KEY: Final = b"salt_tune"  # of what the file says of itself, as JSON
PLAN: Final = "plan.json"
WHOLE: Final = "whole.parquet"
AGAIN: Final = "name another file by --out, or replace it by --overwrite"

Skipped = list[dict[str, str]]


@dataclass
class Rows:
    """Rows of a part as they come.

    Attributes:
        ids: of the videos.
        videos: paths.
        labels: None where the videos come without.
        frames: indices of the frames taken, each (frames,).
        features: the mean of each video's tokens, each (dim,).
        skipped: videos that could not be encoded: `id` and `reason`.
    """

    ids: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    frames: list[npt.NDArray[np.int64]] = field(default_factory=list)
    features: list[npt.NDArray[np.float32]] = field(default_factory=list)
    skipped: Skipped = field(default_factory=list)


def check_path(out: Path) -> None:
    """Checks the path of a file of features, and makes its folder.

    Raises:
        UserError: it is that of another kind of file, or nothing can be written there.
    """
    if out.suffix != ".parquet":
        raise UserError(f"--out {out}: must end in .parquet")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file in it, such as {out / 'features.parquet'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"--out {out}: cannot be written there: {reason}") from error


def is_finished(job: Job, *, overwrite: bool) -> bool:
    """Tells whether the file is whole already; parts of another job are taken away, or refused as such a file is.

    Args:
        job: that is to be done.
        overwrite: what is of another one may go.

    Raises:
        UserError: something else is there.
    """
    if job.out.exists() and not overwrite:
        _check_same(job, job.out, _description_of(job.out))
        shutil.rmtree(job.parts_folder, ignore_errors=True)  # left where the end was a kill
        return True
    plan = job.parts_folder / PLAN
    if plan.exists():
        begun = json.loads(plan.read_text(encoding="utf-8"))
        if begun != job.description and overwrite:
            shutil.rmtree(job.parts_folder)
        else:
            _check_same(job, job.parts_folder, begun)
    return False


def begin(job: Job) -> list[Part]:
    """Returns the parts that are yet to be made, and makes their folder."""
    job.parts_folder.mkdir(exist_ok=True)
    if not (job.parts_folder / PLAN).exists():
        for left in job.parts_folder.iterdir():  # by a kill within `rmtree`, of another job maybe
            left.unlink()
        write_json(job.parts_folder / PLAN, job.description)
    return [(number, videos) for number, videos in job.parts() if not _part(job, number).exists()]


def write_part(job: Job, number: int, rows: Rows) -> None:
    """Writes a part, which is then done with."""
    schema = _schema(job)
    columns = [
        pa.array(rows.ids, pa.string()),
        pa.array(rows.videos, pa.string()),
        pa.array(rows.labels, pa.string()),
        _fixed(rows.frames, schema.field("frames").type),
        _fixed(rows.features, schema.field("features").type),
    ]
    table = pa.Table.from_arrays(columns, schema=schema.with_metadata({KEY: json.dumps(rows.skipped).encode()}))
    with atomic_write(_part(job, number)) as temporary:
        pq.write_table(table, temporary)


def finish(job: Job) -> tuple[int, Skipped]:
    """Joins the parts to the file, and takes them away.

    Returns:
        How many rows it has, and the videos that were skipped.

    Raises:
        VideoError: not one video could be encoded; no file is written.
    """
    paths = [_part(job, number) for number, _ in job.parts()]
    skipped: Skipped = [clip for path in paths for clip in json.loads(pq.read_schema(path).metadata[KEY])]
    count = len(job.videos) - len(skipped)
    if not count:
        shutil.rmtree(job.parts_folder)
        raise VideoError(f"none of the {len(skipped)} videos could be encoded; the first: {skipped[0]['reason']}")
    described = json.dumps({**job.description, "encoder": job.model, "skipped": skipped}).encode()
    whole = job.parts_folder / WHOLE
    schema = _schema(job).with_metadata({KEY: described})
    with atomic_write(whole) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for path in paths:
            writer.write_table(pq.read_table(path).cast(schema))
    whole.replace(job.out)
    sync_folder(job.out.parent)
    shutil.rmtree(job.parts_folder)
    return count, skipped


def done_videos(job: Job) -> int:
    """Counts the videos of the parts that are there."""
    return sum(len(videos) for number, videos in job.parts() if _part(job, number).exists())


def _part(job: Job, number: int) -> Path:
    return job.parts_folder / f"{number:06d}.parquet"


def _schema(job: Job) -> Any:
    return pa.schema(
        {
            "id": pa.string(),
            "video": pa.string(),
            "label": pa.string(),
            "frames": pa.list_(pa.int64(), job.view.frames),
            "features": pa.list_(pa.float32(), job.dim),
        }
    )


def _fixed(arrays: Sequence[npt.NDArray[Any]], kind: Any) -> Any:
    """Returns arrays of one length as a column of lists of that length."""
    flat = np.concatenate(arrays) if arrays else np.empty(0)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind)


def _description_of(path: Path) -> dict[str, Any]:
    """Reads what a file of features says of itself."""
    with contextlib.suppress(pa.ArrowInvalid, KeyError, TypeError, ValueError):
        described = json.loads(pq.read_schema(path).metadata[KEY])
        return {name: described[name] for name in COMPARED}
    raise UserError(f"{path}: is no file that encode has written; {AGAIN}")


def _check_same(job: Job, path: Path, found: dict[str, Any]) -> None:
    """Checks that what is there is of this job.

    Raises:
        UserError: says what is another.
    """
    if found == job.description:
        return
    differs = next((name for name in ("model", "videos") if found.get(name) != job.description[name]), "format")
    of = {"model": "another model", "videos": "other videos", "format": "another format"}[differs]
    there = "holds features" if path == job.out else "has the beginning of features"
    raise UserError(f"{path}: {there} of {of}; {AGAIN}")

"""What the test of kills runs: the command, with a part for every three videos."""

from pathlib import Path

from salt_tune.encode import main
from trainable.encode import job


def encode(folder: Path, given: Path) -> None:
    """Encodes `given/videos` with `given/model` into a file in `folder`."""
    job.PART_VIDEOS = 3  # type: ignore[misc]
    words = [given / "videos", "--model", given / "model", "--out", folder / "features.parquet", "--workers", 1]
    try:
        main.main(args=[*map(str, words)])
    except SystemExit as ended:
        if ended.code:
            raise

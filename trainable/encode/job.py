"""What is encoded, by which encoder, and where the features go; needs no torch."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from trainable.data.video.video_dataset import Video, checked_name, find_videos
from trainable.data.video.view import View
from trainable.errors import UserError, VideoError

COMPARED: Final = ("format_version", "model", "videos")  # what a job is told from another by
PART_VIDEOS: Final = 64  # a kill costs no more than the part that is under way

Part = tuple[int, tuple[Video, ...]]


@dataclass(frozen=True)
class Job:
    """Videos to encode; two jobs that describe themselves alike come to the same file.

    Attributes:
        videos: in the order of their rows.
        folder: that their paths are given below; None: as they are.
        out: the Parquet file.
        model: name of the encoder's folder.
        weights_sha256: of the encoder.
        view: of the clips.
        dim: width of the features.
    """

    videos: tuple[Video, ...]
    folder: Path | None
    out: Path
    model: str
    weights_sha256: str
    view: View
    dim: int

    @property
    def parts_folder(self) -> Path:
        """Where the parts lie until the file is whole."""
        return self.out.with_name(f".{self.out.name}.parts")

    @property
    def lock(self) -> Path:
        """The file that the process holds that encodes."""
        return self.out.with_name(f".{self.out.name}.lock")

    @cached_property
    def description(self) -> dict[str, Any]:
        """What decides the content of the file."""
        listed = [
            [video.id, self.shown(video), video.label, video.path.stat().st_size if video.path.exists() else None]
            for video in self.videos
        ]
        return {
            "format_version": 1,
            "model": {"sha256": self.weights_sha256, "view": self.view.describe()},
            "videos": {"count": len(listed), "sha256": hashlib.sha256(json.dumps(listed).encode()).hexdigest()},
        }

    def shown(self, video: Video) -> str:
        """Returns the path of a video as its row has it."""
        return (video.path if self.folder is None else video.path.relative_to(self.folder)).as_posix()

    def parts(self) -> Iterator[Part]:
        """Yields the number of each part, and its videos."""
        for number, start in enumerate(range(0, len(self.videos), PART_VIDEOS)):
            yield number, self.videos[start : start + PART_VIDEOS]


def videos_of(paths: Sequence[Path]) -> tuple[tuple[Video, ...], Path | None]:
    """Finds what is to be encoded.

    Args:
        paths: one folder, as `prepare` takes it, or video files.

    Returns:
        The videos, and the folder, where it is one.

    Raises:
        VideoError: a file or the folder is not there, or two videos have the same name.
        UserError: folders and files, or several folders.
    """
    if len(paths) == 1 and not paths[0].is_file():
        return find_videos(paths[0]), paths[0]
    if folder := next((path for path in paths if path.is_dir()), None):
        raise UserError(f"{folder}: is a folder among {len(paths)} paths; give one folder, or video files")
    videos: dict[str, Video] = {}
    for path in map(checked_name, paths):
        if not path.is_file():
            raise VideoError(f"{path}: there is no such video")
        id_ = path.with_suffix("").as_posix()
        if id_ in videos:
            raise VideoError(f"{path}: has the name of {videos[id_].path}; names must differ without the extension")
        videos[id_] = Video(id_, path, None)
    return tuple(videos.values()), None

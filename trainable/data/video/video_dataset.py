"""Finds the labelled videos of a folder, in Something-Something v2's layout or in a folder per class."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from trainable.data.video.splitting import held_out
from trainable.errors import ConfigError, VideoError

if TYPE_CHECKING:
    from trainable.data.video.grouping import Grouping

Split = Literal["train", "val"]

# Containers of video that FFmpeg reads, by the names that their files have.
_ENDINGS: Final = (
    "webm mkv mk3d mp4 m4v mov qt mj2 3gp 3g2 f4v avi divx wmv asf flv ogv ogm ogx gif mpg mpeg mpe m1v m2v mpv vob "
    "evo ts m2t m2ts mts tod mod mxf gxf nut ivf y4m dv dif rm rmvb wtv h261 h263 h264 264 avc h265 265 hevc h266 vvc "
    "av1 obu vc1 mjpg mjpeg amv nsv roq smk bik"
)
VIDEO_SUFFIXES: Final = frozenset(f".{ending}" for ending in _ENDINGS.split())
_NUMBERS: Final = {1: "one is", 2: "two are"}
_SSV2_PREFIXES: Final = ("", "something-something-v2-")
_SSV2_VIDEOS: Final = "20bn-something-something-v2"
_SSV2_SPLITS: Final[dict[str, Split]] = {"train": "train", "validation": "val"}


@dataclass(frozen=True)
class SourceClip:
    """A labelled video.

    Attributes:
        id: names the clip: SSv2's id, or the path below the folder without its extension ("class/stem").
        path: the video file; it was there when the folder was searched.
        label: one of the source's labels.
        split: "train" or "val".
        group: names the clips that stay on one side of the split with it; None: it stands for itself.
    """

    id: str
    path: Path
    label: str
    split: Split
    group: str | None = None


@dataclass(frozen=True)
class Source:
    """The labelled videos of a folder.

    Attributes:
        folder: the folder that was searched.
        clips: the clips of both splits, neither of which is empty, sorted by id.
        labels: the class names in the order of their indices; a class may have no clips.
        group_by: how the clips were grouped, `Grouping.rule`; None: they were not.
        others: files of the folder that are no videos by their names, but hidden ones and the lists of SSv2.
        unlisted: videos that SSv2's lists do not name.
    """

    folder: Path
    clips: tuple[SourceClip, ...]
    labels: tuple[str, ...]
    group_by: dict[str, str] | None = None
    others: tuple[Path, ...] = ()
    unlisted: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Video:
    """A video, whatever it is for.

    Attributes:
        id: as that of a `SourceClip`.
        path: the video file.
        label: its class; None where the folder gives it none.
    """

    id: str
    path: Path
    label: str | None


def find_videos(folder: Path) -> tuple[Video, ...]:
    """Finds all videos of a folder, at least one, sorted by id, with the labels that `find_source` gives them.

    Videos that the lists of Something-Something v2 do not name have none.

    Raises:
        VideoError: see `find_source`; no split is asked for.
    """
    annotations = _annotations(folder)
    if any(annotations.values()):
        source = _read_ssv2(folder, annotations)
        found = [Video(clip.id, clip.path, clip.label) for clip in source.clips]
        found += [Video(path.stem, path, None) for path in source.unlisted]
        return tuple(sorted(found, key=lambda video: video.id))
    videos, _ = _read_class_folders(folder, least=1)
    return tuple(Video(id_, videos[id_], _class_of(id_, folder)) for id_ in sorted(videos))


def find_source(
    folder: Path,
    *,
    val_fraction: float = 0.1,
    seed: int = 0,
    grouping: "Grouping | None" = None,
    sides: Mapping[str, Split] | None = None,
) -> Source:
    """Finds the labelled videos of a folder.

    A folder with `labels.json`, `train.json` and `validation.json`, in itself or in its subfolder `labels`, is
    read as Something-Something v2. The official names begin with `something-something-v2-`. The videos are ID.webm,
    or of another video extension, in the folder or in its subfolder `20bn-something-something-v2`. The splits are
    used as given.

    Any other folder is searched for videos at any depth, hidden files and folders left out. The class of a
    video is the path of the folder that holds it, relative to `folder` ("signs", "surveillance/fight"). Videos
    directly in `folder` are of a class named after it. Of each class the `round(val_fraction * n)` clips with
    the smallest hash of (seed, id) are held out, at least one and never all. A class with a single clip is
    trained on. With a grouping, whole groups are held out instead; see `splitting.held_out`.

    Args:
        folder: the folder to search.
        val_fraction: fraction of the clips held out, above 0 and below 1; not used for SSv2's layout.
        seed: chooses which clips are held out; not used for SSv2's layout.
        grouping: which clips stay on one side of the split.
        sides: groups whose side is settled, where clips are added to a store that has some of each.

    Raises:
        ConfigError: `val_fraction` is not between 0 and 1.
        UserError: the grouping leaves clips out or puts all into one group, or
            the folder has a split of its own, which is never changed.
        VideoError: the folder is missing or has no videos, a JSON file is not as SSv2's are, a listed video is
            not there, two videos have the same id, or a split would be empty.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError("val_fraction", val_fraction, "must be above 0 and below 1")
    annotations = _annotations(folder)
    if any(annotations.values()):
        if grouping is not None:
            raise grouping.refused(f"{folder} has a split of its own, which is kept as it is; leave it out")
        return _read_ssv2(folder, annotations)
    videos, others = _read_class_folders(folder)
    classes = {id_: _class_of(id_, folder) for id_ in videos}
    groups = {id_: id_ for id_ in videos}
    if grouping is not None:
        groups = grouping.groups({id_: path.relative_to(folder) for id_, path in videos.items()})
        if len(set(groups.values())) == 1 and not sides:
            group = next(iter(groups.values()))
            raise grouping.refused(f"puts all {len(groups)} clips into one group, {group!r}")
    val = held_out(classes, groups, val_fraction, seed, sides)
    clips = tuple(
        SourceClip(id_, videos[id_], classes[id_], "val" if id_ in val else "train", groups[id_] if grouping else None)
        for id_ in sorted(videos)
    )
    labels = tuple(sorted(set(classes.values())))
    return Source(folder, clips, labels, grouping.rule if grouping else None, others)


def _annotations(folder: Path) -> dict[str, Path | None]:
    """Finds the lists of Something-Something v2 in a folder of videos.

    Raises:
        VideoError: there is no such folder.
    """
    if not folder.is_dir():
        raise VideoError(f"{folder}: " + ("is not a folder" if folder.exists() else "there is no such folder"))
    checked_name(folder.absolute())  # which stands in the manifest
    return {name: _find_annotation(folder, name) for name in ("labels", *_SSV2_SPLITS)}


def _class_of(id_: str, folder: Path) -> str:
    return id_.rpartition("/")[0] or folder.resolve().name


def _find_annotation(folder: Path, name: str) -> Path | None:
    places = (folder, folder / "labels")
    paths = (place / f"{prefix}{name}.json" for place in places for prefix in _SSV2_PREFIXES)
    return next((path for path in paths if path.is_file()), None)


def _read_ssv2(folder: Path, annotations: dict[str, Path | None]) -> Source:
    """Pairs the entries of SSv2's JSON files with the videos."""
    files = {name: path for name, path in annotations.items() if path}
    if lacking := [f"{name}.json" for name in annotations if name not in files]:
        raise VideoError(
            f"{folder}: has {next(iter(files.values())).name} but no {' and no '.join(lacking)}: "
            "SSv2's layout needs labels.json, train.json and validation.json (is it still being written?)"
        )
    labels = _read_labels(files["labels"])
    splits = {split: dict(_read_entries(files[name], set(labels))) for name, split in _SSV2_SPLITS.items()}
    if both := splits["train"].keys() & splits["val"].keys():
        raise VideoError(f"{files['validation']}: id = {min(both)!r}: is listed in {files['train'].name} as well")
    places = [place for place in (folder, folder / _SSV2_VIDEOS) if place.is_dir()]
    listed = sorted(id_ for entries in splits.values() for id_ in entries)
    videos: dict[str, Path] = {}
    found = [_list_files(place, deep=False) for place in places]
    for path in (path for one in found for path in one.videos):
        if path.stem in videos and (path.stem in splits["train"] or path.stem in splits["val"]):
            raise VideoError(f"{path}: has the same id as {videos[path.stem]}; keep one of the two")
        videos[path.stem] = path
    if missing := [id_ for id_ in listed if id_ not in videos]:
        raise VideoError(
            f"{folder}: {len(missing)} of the {len(listed)} videos listed are not there, first {missing[0]}.webm: "
            f"put them into this folder or its subfolder {_SSV2_VIDEOS}, or take them off the lists"
        )
    named = set(listed)
    others = tuple(path for one in found for path in one.others if path.suffix != ".json")
    unlisted = tuple(path for id_, path in videos.items() if id_ not in named)
    clips = (
        SourceClip(id_, videos[id_], label, split)
        for split, entries in splits.items()
        for id_, label in entries.items()
    )
    by_id = tuple(sorted(clips, key=lambda clip: clip.id))
    return Source(folder, by_id, labels, others=others, unlisted=unlisted)


def _read_labels(path: Path) -> tuple[str, ...]:
    """Reads {"Holding something": "0", ...}; the values must count from 0."""
    indices = _read_json(path)
    if not isinstance(indices, dict):
        raise VideoError(f'{path}: must be an object of classes and their indices, {{"Holding something": "0", ...}}')
    by_index = {str(index): checked_text(label, f"{path}: class") for label, index in indices.items()}
    wanted = [str(index) for index in range(len(indices))]
    if wrong := next((index for index in wanted if index not in by_index), None):
        raise VideoError(f"{path}: no class has the index {wrong}: {len(indices)} classes must be numbered from 0")
    return tuple(by_index[index] for index in wanted)


def _read_entries(path: Path, labels: set[str]) -> Iterator[tuple[str, str]]:
    """Yields the id and the class of the entries of `train.json` or `validation.json`; no id comes twice."""
    entries = _read_json(path)
    if not isinstance(entries, list) or not entries:
        raise VideoError(f'{path}: must be a list of at least one entry, [{{"id": "1", "template": "..."}}, ...]')
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        id_ = _read_field(path, number, entry, "id")
        template = _read_field(path, number, entry, "template")
        label = template.replace("[", "").replace("]", "")
        if label not in labels:
            raise VideoError(
                f"{path}: entry {number}: template = {template!r}: without brackets it must be a class of labels.json"
            )
        if id_ in seen:
            raise VideoError(f"{path}: entry {number}: id = {id_!r}: is listed before; each id must be there once")
        seen.add(id_)
        yield id_, label


def _read_field(path: Path, number: int, entry: Any, field: str) -> str:
    value = entry.get(field) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value:
        raise VideoError(f"{path}: entry {number}: {field} = {value!r}: must be a text that is not empty")
    return checked_text(value, f"{path}: entry {number}: {field}")


def checked_text(text: str, what: str) -> str:
    """Refuses what JSON can hold and no file can: half of a character.

    Args:
        text: to be checked.
        what: names it.

    Raises:
        VideoError: it could stand neither in the index nor in the manifest.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise VideoError(f"{what} = {text!r}: is no valid text, as half of a character stands alone in it") from error
    return text


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: not JSON, or not UTF-8
        raise VideoError(f"{path}: is not readable JSON: {error}") from error


def _read_class_folders(folder: Path, least: int = 2) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Finds the videos at any depth, by their ids, and the files that are none."""
    videos: dict[str, Path] = {}
    found = _list_files(folder, deep=True)
    for path in found.videos:
        id_ = path.relative_to(folder).with_suffix("").as_posix()
        if id_ in videos:
            raise VideoError(
                f"{path}: has the same name as {videos[id_].name}; names must differ without the extension"
            )
        videos[id_] = path
    if len(videos) < least:
        raise VideoError(
            f"{folder}: holds {len(videos) or 'no'} video{'s' * (not videos)}: at least {_NUMBERS[least]} needed, as "
            ".webm, .mp4 or the like in a folder per class, or SSv2's labels.json, train.json and validation.json"
        )
    return videos, tuple(found.others)


@dataclass(frozen=True)
class _Listing:
    videos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def _list_files(folder: Path, *, deep: bool) -> _Listing:
    """Lists the files in a folder, or at any depth below it, in a fixed order; hidden ones are left out."""
    found = _Listing()

    def refuse(error: OSError) -> NoReturn:
        raise VideoError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
        here = Path(parent).resolve()
        for link in (Path(parent, name) for name in folders if Path(parent, name).is_symlink()):
            if here.is_relative_to(link.resolve()):
                raise VideoError(f"{link}: is a link to a folder that it lies in; remove it")
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.videos.append(checked_name(path))
            else:
                found.others.append(path)
    return found


def checked_name(path: Path) -> Path:
    """Refuses a path that is no text: it could stand neither in the index nor in the manifest.

    Raises:
        VideoError: its name is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VideoError(
            f"{os.fsencode(path)!r}: the name is not UTF-8; rename it (convmv does whole folders)"
        ) from error
    return path

"""The pictures that `inspect.py` draws of a clip store, into STORE/inspect."""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from analysis.plots import store as store_plots
from analysis.plots.clips import Floats, Images, ShownClip
from analysis.text import printable, shortened
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import DRAW
from trainable.data.store.index import Clips
from trainable.evaluate.config import EvaluationConfig
from trainable.files import atomic_write
from trainable.hashing import uniforms
from trainable.masking.masks import Masks

FOLDER: Final = "inspect"

TRAINING_CLIPS, HELD_OUT_CLIPS = 6, 2
FRAMES = 8  # fewer do not show what moves
FURTHER_VIEWS = 4
NAME_LETTERS = 24  # of a clip, or of its class
DPI = 150


def draw_pictures(store: ClipStore, shares: Floats) -> Iterator[Path]:
    """Draws one picture after the other and yields its file; the contact sheet last, as it may need the videos.

    Args:
        store: the clip store.
        shares: of the latents' variance, of each principal direction.

    Raises:
        StoreError: a clip is damaged, or its video is gone.
        OSError: the pictures cannot be written.
    """
    folder = store.path / FOLDER
    folder.mkdir(exist_ok=True)
    pictures: dict[str, Callable[[], Figure | None]] = {
        "latents.png": lambda: store_plots.latents(shares),
        "teacher.png": lambda: _teacher(store.path / "teacher" / "reports.jsonl"),
        "contact-sheet.png": lambda: contact_sheet(store),
    }
    for name, draw in pictures.items():
        if (picture := draw()) is not None:
            with atomic_write(folder / name) as temporary:
                picture.savefig(temporary, format="png", dpi=DPI)
            yield folder / name


def spread_over_classes(clips: Clips, count: int, last: Collection[int] = ()) -> list[int]:
    """Draws `count` clips by the hash of their names, of as many classes as there are.

    Args:
        clips: of one split.
        count: how many, where there are so many.
        last: classes that are drawn of after the others.
    """
    order = np.argsort(uniforms(0, DRAW, clips.keys, 1)[:, 0], kind="stable")
    _, first = np.unique(clips.labels[order], return_index=True)
    others = np.setdiff1d(np.arange(len(order)), first)
    spread = order[np.concatenate([np.sort(first), others])]
    late = np.isin(clips.labels[spread], list(last))
    chosen: list[int] = spread[np.argsort(late, kind="stable")][:count].tolist()
    return chosen


def _teacher(reports: Path) -> Figure | None:
    """Draws the teacher's curve; None where it was not trained for this store."""
    if not reports.exists():
        return None
    curve = [json.loads(line) for line in reports.read_text(encoding="utf-8").splitlines()]
    return store_plots.teacher({name: [line[name] for line in curve] for name in ("epoch", "val_loss", "val_r2")})


def contact_sheet(store: ClipStore) -> Figure:
    """Draws some clips as stored, and as a student sees them; see `store_plots.contact_sheet`."""
    config, view = EvaluationConfig(), store.view
    masks = Masks(view, config.masking, config.mask_ratio, config.seed)
    times = np.unique(np.linspace(0, view.frames - 1, FRAMES).round().astype(np.int64))
    training = spread_over_classes(store.train, TRAINING_CLIPS)
    held_out = spread_over_classes(
        store.val, HELD_OUT_CLIPS, last={int(label) for label in store.train.labels[training]}
    )
    shown = [*((store.train, clip) for clip in training), *((store.val, clip) for clip in held_out)]
    first, views = shown[0][1], range(1, min(view.views, FURTHER_VIEWS + 1))
    some = f"{len(views)} of the {view.views - 1}" if len(views) < view.views - 1 else f"The {len(views)}"
    return store_plots.contact_sheet(
        f"Frames {', '.join(map(str, times + 1))} of {view.frames}; below, what a student sees of them "
        f"({config.mask_ratio:.0%} masked, {config.masking})",
        [_masked_clip(store, masks, clips, clip, times) for clips, clip in shown],
        f"{some} further views of {store.train.ids[first]}",
        [ShownClip(f"view {number}", _frames(store, store.train, first, number, times)) for number in views],
    )


def _masked_clip(store: ClipStore, masks: Masks, clips: Clips, clip: int, times: npt.NDArray[np.int64]) -> ShownClip:
    """Returns a clip with its first mask of the first epoch."""
    hidden = np.zeros(store.view.tokens, dtype=np.bool_)
    hidden[masks.draw(0, clips.keys[[clip]]).masked[0, 0]] = True
    role = "training" if clips.split == "train" else "held-out"
    return ShownClip(
        f"{_short(clips.ids[clip])} ({role}): {_short(store.labels[clips.labels[clip]])}",
        _frames(store, clips, clip, 0, times),
        hidden.reshape(store.view.grid)[times // store.view.tubelet],
    )


def _short(name: str) -> str:
    """Shortens a name, so that the other one has some room in a caption."""
    return shortened(printable(name), NAME_LETTERS)


def _frames(store: ClipStore, clips: Clips, clip: int, view: int, times: npt.NDArray[np.int64]) -> Images:
    frames: Images = store.view.to_frames(store.pixels(clips, clip, view))[times]
    return frames

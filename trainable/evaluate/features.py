"""The frozen features that all probes of the panel are fitted to, from one pass over its clips.

Whole clips, pooled per time slot, serve the probes that need labels. The others need stretches: half as many frames as
a clip, put into the first half of the time slots. Two stretches so have the same positions, and what tells them apart
is in their pixels alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from trainable.evaluate.stretches import cut_stretches
from trainable.model.student import Student

if TYPE_CHECKING:
    from trainable.evaluate.judged import JudgedOn

Floats = npt.NDArray[np.float64]
Precision = Callable[[], AbstractContextManager[Any]]
Slots = Callable[[torch.Tensor, int], torch.Tensor]
"""Of pixels (clips, tokens, token values) that fill so many time slots: features, shape (clips, slots, width)."""
Seen = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of pixels (clips, n, token values) and which tokens they are (clips, n): features, shape (clips, width)."""

VIEWS: Final = 4  # masks of a clip (Thilak et al., 2023, take 50 views of an image)
COARSE: Final = 4  # rows and columns that raw pixels are pooled to


@dataclass(frozen=True)
class Features:
    """Of the panel's clips, as one encoder sees them.

    Attributes:
        whole: of whole clips, mean over each time slot: shape (clips, slots, width).
        stretches: of the label-free clips, by the names of `STRETCHES`, mean over each time slot: shape (clips,
            slots // 2, width). Empty where the clips have one time slot, or their pixels were not encoded.
        views: of the panel's `viewed` clips, mean over the tokens that masks of the evaluation leave visible: shape
            (clips, masks, width); None where they were not encoded.
    """

    whole: Floats
    stretches: Mapping[str, Floats]
    views: Floats | None = None


@torch.no_grad()
def student_features(student: Student, autocast: Precision, on: "JudgedOn") -> Features:
    """Encodes the panel's clips with a student as it stands, in the precision that `autocast` gives."""
    student.eval()

    def encode(pixels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        with autocast():
            tokens: torch.Tensor = student(pixels, index)
        return tokens.float()

    def slots(pixels: torch.Tensor, count: int) -> torch.Tensor:
        index = torch.arange(pixels.shape[1], device=pixels.device).expand(len(pixels), -1)
        return cast(torch.Tensor, encode(pixels, index).unflatten(1, (count, -1)).mean(dim=2))

    return _encoded(on, slots, lambda pixels, index: encode(pixels, index).mean(dim=1))


@torch.no_grad()
def pixel_features(on: "JudgedOn") -> Features:
    """Pools the pixels of the panel's clips: mean colours of each time slot on a grid of at most 4 x 4."""
    _, rows, columns = on.store.view.grid

    def slots(pixels: torch.Tensor, count: int) -> torch.Tensor:
        colours = pixels.float().unflatten(-1, (-1, 3)).mean(dim=2)
        images = colours.unflatten(1, (count, rows, columns)).movedim(-1, 2).flatten(0, 1)
        coarse = F.adaptive_avg_pool2d(images, (min(rows, COARSE), min(columns, COARSE)))
        return cast(torch.Tensor, coarse.unflatten(0, (len(pixels), count)).flatten(2))

    return _encoded(on, slots)


def latent_features(on: "JudgedOn") -> Features:
    """Pools the teacher's latents of the panel's clips, as the store has them; it has none of stretches."""
    store, panel = on.store, on.panel
    parts = ((store.val, panel.held_out), (store.train, panel.training))
    pooled = [
        store.latents(clips, int(clip)).reshape(store.view.grid[0], -1, store.teacher.dim).mean(axis=1)
        for clips, chosen in parts
        for clip in chosen
    ]
    return Features(np.stack(pooled).astype(np.float64), {})


def _encoded(on: "JudgedOn", slots: Slots, seen: Seen | None = None) -> Features:
    """Asks for whole clips, stretches and views, reading each clip once."""
    view, half = on.store.view, on.store.view.grid[0] // 2
    whole, views = [], []
    stretches: dict[str, list[Floats]] = {}
    for positions, pixels in panel_batches(on):
        whole.append(_plain(slots(pixels, view.grid[0])))
        label_free, viewed = on.panel.label_free[positions], on.panel.viewed[positions]
        if half and label_free.any():
            for name, tokens in cut_stretches(_chosen(pixels, label_free), view).items():
                stretches.setdefault(name, []).append(_plain(slots(tokens, half)))
        if seen is not None and viewed.any():
            under = [seen(*visible) for visible in _visible(_chosen(pixels, viewed), on, positions[viewed])]
            views.append(_plain(torch.stack(under, dim=1)))
    joined = {name: np.concatenate(parts) for name, parts in stretches.items()}
    return Features(np.concatenate(whole), joined, np.concatenate(views) if views else None)


def panel_batches(on: "JudgedOn") -> Iterator[tuple[npt.NDArray[np.int64], torch.Tensor]]:
    """Yields the panel's clips: their positions in it, and pixels, shape (clips, tokens, token values)."""
    done = 0
    for split, chosen in (("val", on.panel.held_out), ("train", on.panel.training)):
        for batch in on.whole[split].in_order(chosen):
            yield np.arange(done, done + len(batch.clips)), batch.pixels
            done += len(batch.clips)


def _visible(
    pixels: torch.Tensor, on: "JudgedOn", positions: npt.NDArray[np.int64]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields what each mask leaves visible of clips: pixels (clips, n, token values) and token indices (clips, n)."""
    for view in range(VIEWS):
        epoch, number = divmod(view, on.masks.per_clip)
        drawn = on.masks.draw(epoch, on.panel.keys[positions]).visible[:, number]
        index = torch.from_numpy(drawn).to(pixels.device)
        yield pixels.gather(1, index[..., None].expand(-1, -1, pixels.shape[-1])), index


def _chosen(pixels: torch.Tensor, flags: npt.NDArray[np.bool_]) -> torch.Tensor:
    return pixels[torch.from_numpy(flags).to(pixels.device)]


def _plain(features: torch.Tensor) -> Floats:
    return features.double().cpu().numpy()

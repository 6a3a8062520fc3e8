"""The panel's clips: those whose frozen features are probed, the same for every trial and baseline, and their folds."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import draw_clips
from trainable.evaluate.config import EvaluationConfig
from trainable.hashing import UInts

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FEWEST: Final = 4  # clips that a part of the panel has, so that folds can part them


@dataclass(frozen=True)
class Panel:
    """Some held-out and then some training clips, each array in this order.

    Attributes:
        held_out: their positions in the store's held-out clips, shape (held-out clips,).
        training: theirs in its training clips, shape (training clips,).
        ids: names, held-out ones first.
        keys: hashes of the names, shape (clips,).
        labels: class indices, shape (clips,).
        groups: numbers of their groups, shape (clips,).
        labelled: clips whose class others can tell: it has clips in at least two groups; none where there are not two
            such classes. Shape (clips,).
        label_free: clips for the probes that need no labels, shape (clips,): the held-out ones; a quarter of them where
            there are labels, which say more.
        viewed: clips for LiDAR, shape (clips,): half of the held-out ones.
        evaluation: what they were drawn for.
    """

    held_out: Ints
    training: Ints
    ids: tuple[str, ...]
    keys: UInts
    labels: Ints
    groups: Ints
    labelled: Flags
    label_free: Flags
    viewed: Flags
    evaluation: EvaluationConfig

    @cached_property
    def folds(self) -> Ints:
        """The fold of each clip, by repeat: shape (repeats, clips); no repeat where nothing can be held out."""
        config = self.evaluation
        return draw_folds(self.keys, self.labels, self.groups, config.folds, config.repeats, config.seed)


def draw_panel(store: ClipStore, config: EvaluationConfig) -> Panel:
    """Draws the clips; the draw, and that of their folds, depends on names, labels, groups and the seed alone."""
    held_out_count = min(len(store.val), config.panel_clips // 2)
    training = draw_clips(store.train, config.panel_clips - held_out_count, config.seed)
    held_out = draw_clips(store.val, config.panel_clips - len(training), config.seed)
    parts = [(store.val, held_out), (store.train, training)]
    ids = tuple(clips.ids[clip] for clips, chosen in parts for clip in chosen)
    keys = np.concatenate([clips.keys[chosen] for clips, chosen in parts])
    labels = np.concatenate([clips.labels[chosen] for clips, chosen in parts])
    groups = group_numbers(ids, [clips.groups[clip] for clips, chosen in parts for clip in chosen])
    labelled = can_be_told(labels, groups)

    def part(share: int) -> Flags:
        """Marks one in so many of the held-out clips, and four where there are so many."""
        chosen = draw_clips(store.val, max(FEWEST, len(held_out) // share), config.seed)
        return np.concatenate([np.isin(held_out, chosen), np.zeros(len(training), dtype=np.bool_)])

    label_free = part(4 if labelled.any() else 1)
    return Panel(held_out, training, ids, keys, labels, groups, labelled, label_free, part(2), config)


def group_numbers(ids: Sequence[str], groups: Sequence[str | None]) -> Ints:
    """Numbers the groups of clips; a clip without one is a group of its own. Shape (clips,)."""
    named = [("clip", name) if group is None else ("group", group) for name, group in zip(ids, groups, strict=True)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(named))}
    return np.array([numbers[name] for name in named], dtype=np.int64)


def can_be_told(labels: Ints, groups: Ints) -> Flags:
    """Marks the clips of classes with clips in at least two groups; none where there are not two such classes."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    classes, counts = np.unique(pairs[0], return_counts=True)
    told = classes[counts >= 2]
    return np.isin(labels, told) if len(told) >= 2 else np.zeros(len(labels), dtype=np.bool_)


def draw_folds(keys: UInts, labels: Ints, groups: Ints, folds: int, repeats: int, seed: int) -> Ints:
    """Parts clips into folds of about as many clips of each class, and no group into two; anew for each repeat.

    Args:
        keys: hashes of the clips' names, shape (clips,). The order of the clips changes nothing.
        labels: class indices, shape (clips,).
        groups: numbers, shape (clips,).
        folds: at most; there are no more than groups, nor than clips of the largest class.
        repeats: how often.
        seed: of the shuffling.

    Returns:
        The fold of each clip, shape (repeats, clips); (0, clips) where nothing can be held out.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(folds, len(np.unique(groups)), int(np.bincount(np.unique(labels, return_inverse=True)[1]).max()))
    if count < 2:
        return np.zeros((0, len(keys)), dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    drawn = np.empty((repeats, len(keys)), dtype=np.int64)
    for repeat in range(repeats):
        shuffled = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=shuffled)
        with warnings.catch_warnings():  # classes with fewer clips than folds are no mistake
            warnings.simplefilter("ignore", UserWarning)
            for fold, (_, held) in enumerate(splitter.split(order, labels[order], groups[order])):
                drawn[repeat, order[held]] = fold
    return drawn

"""The panel's clips and folds follow from names, labels, groups and the seed; no group is in two folds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.panel import Panel, can_be_told, draw_folds, draw_panel, group_numbers
from trainable.hashing import clip_key


def keys_of(count: int) -> Any:
    return np.array([clip_key(str(number)) for number in range(count)], dtype=np.uint64)


def test_training_and_held_out_clips_are_drawn_half_and_half_where_there_are_enough(store: ClipStore) -> None:
    """The store has 32 and 16 clips."""
    sizes = {}
    for most in (4, 20, 40, 48, 1024):
        panel = draw_panel(store, EvaluationConfig(panel_clips=most))
        sizes[most] = (len(panel.held_out), len(panel.training))
        assert panel.ids == (
            *(store.val.ids[clip] for clip in panel.held_out), *(store.train.ids[clip] for clip in panel.training)
        )  # fmt: skip
        assert panel.labels.tolist() == [*store.val.labels[panel.held_out], *store.train.labels[panel.training]]
    assert sizes == {4: (2, 2), 20: (10, 10), 40: (16, 24), 48: (16, 32), 1024: (16, 32)}


def test_label_free_probes_look_at_held_out_clips_and_at_a_quarter_where_labels_say_more(store: ClipStore) -> None:
    def label_free(panel: Panel) -> list[int]:
        return np.flatnonzero(panel.label_free).tolist()

    labelled = label_free(draw_panel(store, EvaluationConfig()))
    assert len(labelled) == 4 and max(labelled) < 16
    one_class = replace(
        store,
        train=replace(store.train, labels=store.train.labels * 0),
        val=replace(store.val, labels=store.val.labels * 0),
    )
    assert label_free(draw_panel(one_class, EvaluationConfig())) == [*range(16)]


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(0, 4), min_size=4, max_size=40),
    data=st.data(),
    folds=st.integers(2, 6),
    repeats=st.integers(1, 3),
)
def test_folds_part_clips_but_no_group(labels: list[int], data: st.DataObject, folds: int, repeats: int) -> None:
    count = len(labels)
    groups = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    drawn = draw_folds(keys_of(count), np.array(labels), groups, folds, repeats, seed=3)
    if len(drawn):
        assert drawn.shape == (repeats, count)
        assert drawn.min() >= 0 and drawn.max() < folds
        for repeat in drawn:
            assert all(len(set(repeat[groups == group])) == 1 for group in set(groups.tolist()))
    else:
        assert len(set(groups.tolist())) == 1 or len(set(labels)) == count


@settings(max_examples=20)
@given(st.permutations(range(24)))
def test_the_order_of_the_clips_changes_no_fold(order: list[int]) -> None:
    labels, groups = np.arange(24) % 4, np.arange(24) // 2
    straight = draw_folds(keys_of(24), labels, groups, 5, 2, seed=0)
    other = draw_folds(keys_of(24)[order], labels[order], groups[order], 5, 2, seed=0)
    assert straight[:, order].tolist() == other.tolist()


def test_each_repeat_and_seed_parts_anew_and_each_fold_has_every_class() -> None:
    labels = np.arange(40) % 4
    first, second = draw_folds(keys_of(40), labels, np.arange(40), 5, 2, seed=0)
    assert first.tolist() != second.tolist()
    assert draw_folds(keys_of(40), labels, np.arange(40), 5, 1, seed=1).tolist() != [first.tolist()]
    counts = np.array([np.bincount(labels[first == fold]) for fold in range(5)])
    assert (counts == 2).all()


def test_a_clip_without_a_group_is_its_own_even_beside_a_group_of_its_name() -> None:
    assert group_numbers(["a", "b", "c", "d"], [None, "a", "a", None]).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("labels", "groups", "told"),
    [
        ([0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [True, True, True, True, False]),
        ([0, 0, 1, 1, 2, 2], [0, 1, 2, 2, 3, 4], [True, True, False, False, True, True]),
        ([0, 0, 1, 1], [0, 1, 2, 2], [False] * 4),
        ([0, 1, 2, 3], [0, 1, 2, 3], [False] * 4),
    ],
)
def test_a_class_can_be_told_where_two_groups_show_it(labels: list[int], groups: list[int], told: list[bool]) -> None:
    assert can_be_told(np.array(labels), np.array(groups)).tolist() == told

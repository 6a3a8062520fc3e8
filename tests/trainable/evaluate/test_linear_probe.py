"""The linear probe reads off features what can be read off, on clips that it was not fitted to."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trainable.evaluate.probing import SLOTS, WIDTH, accuracy, labelled, noise, probed, whole
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.answers import Answers
from trainable.evaluate.features import Features
from trainable.evaluate.linear_probe import probe_top1
from trainable.evaluate.panel import Panel


def in_last_slot(panel: Panel) -> Features:
    """The class stands in one slot, and is drowned in the mean over all."""
    features = 0.1 * noise(len(panel.ids), SLOTS, 8)
    features[:, 3] += np.eye(8)[panel.labels]
    return whole(features * 1e3 + 50)


def nothing(panel: Panel) -> Features:
    return whole(noise(len(panel.ids), SLOTS, WIDTH))


def test_what_stands_in_a_slot_is_read_whatever_its_scale(store: ClipStore) -> None:
    assert accuracy(probe_top1(probed(store, in_last_slot))) > 0.95


def test_noise_is_not_read(store: ClipStore) -> None:
    """Of 48 clips that are remembered, every one would be right."""
    assert accuracy(probe_top1(probed(store, nothing))) < 0.3


def test_every_clip_is_answered_once_a_repeat(store: ClipStore) -> None:
    answers = probe_top1(probed(store, nothing, folds=4, repeats=2))
    assert isinstance(answers, Answers)
    for repeat in range(2):
        assert sorted(answers.clips[answers.repeats == repeat].tolist()) == [*range(48)]
    assert len(answers.accuracies) == 8
    assert answers.test_to_train == pytest.approx(1 / 3, abs=0.02)


def test_a_class_of_two_clips_is_told_as_others_are_and_one_of_a_single_clip_is_left_out(store: ClipStore) -> None:
    labels = [0, 0, 1, *[2] * 10, *[3] * 19]
    answers = probe_top1(probed(labelled(store, labels, [3] * 16), in_last_slot))
    assert isinstance(answers, Answers)
    assert set(answers.labels.tolist()) == {0, 2, 3}
    assert answers.uneven
    assert accuracy(answers) > 0.5


@pytest.mark.parametrize(
    "labels", [[0] * 48, [*range(48)], [0, *[1] * 47]], ids=["one class", "a class a clip", "one class of two clips"]
)
def test_nothing_is_measured_without_two_classes_that_can_be_told(store: ClipStore, labels: list[int]) -> None:
    assert probe_top1(probed(labelled(store, labels[:32], labels[32:]), nothing)) is None


def test_clips_of_a_group_are_not_answered_by_one_another(store: ClipStore) -> None:
    """Features name the group, and groups of one class say nothing of others: only a leak could be right."""
    groups = tuple(f"scene {clip // 4}" for clip in range(48))
    grouped = labelled(store, np.arange(32) // 8, np.arange(32, 48) // 8)
    grouped = replace(
        grouped, train=replace(grouped.train, groups=groups[:32]), val=replace(grouped.val, groups=groups[32:])
    )

    def scenes(panel: Panel) -> Features:
        return whole(np.repeat(np.eye(12)[panel.groups][:, None], SLOTS, axis=1))

    assert accuracy(probe_top1(probed(grouped, scenes))) < 0.35
    alone = replace(
        grouped,
        train=replace(grouped.train, groups=(None,) * 32),
        val=replace(grouped.val, groups=(None,) * 16),
    )
    of = dict(zip((*store.train.ids, *store.val.ids), groups, strict=True))

    def same_scenes(panel: Panel) -> Features:
        numbers = [int(of[name].split()[1]) for name in panel.ids]
        return whole(np.repeat(np.eye(12)[numbers][:, None], SLOTS, axis=1))

    assert accuracy(probe_top1(probed(alone, same_scenes))) > 0.9

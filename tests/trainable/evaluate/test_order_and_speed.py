"""Order and speed are told where features say how a clip is played, and not where they say what it shows."""

import pytest

from tests.trainable.evaluate.probing import WIDTH, Floats, accuracy, labelled, noise, probed
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.features import Features
from trainable.evaluate.judged import Probed
from trainable.evaluate.order_and_speed import order_top1, speed_top1
from trainable.evaluate.retrieval import retrieval_top1
from trainable.evaluate.stretches import STRETCHES


def played(store: ClipStore, **changed: Floats | float) -> Probed:
    """Stretches of a clip look alike, but for what is added to some of them."""
    alike = 0.2 * noise(16, 2, WIDTH)
    stretches = {name: alike + changed.get(name, 0.0) for name in STRETCHES}
    unlabelled = labelled(store, [0] * 32, [0] * 16)
    return probed(unlabelled, lambda panel: Features(noise(len(panel.ids), 4, WIDTH), stretches))


def test_a_trace_of_time_tells_the_order(store: ClipStore) -> None:
    assert accuracy(order_top1(played(store, reversed=noise(1, 2, WIDTH, seed=1)))) > 0.9
    assert accuracy(speed_top1(played(store, reversed=noise(1, 2, WIDTH, seed=1)))) <= 0.6


def test_a_trace_of_speed_tells_the_speed(store: ClipStore) -> None:
    trace = noise(1, 2, WIDTH, seed=1)
    assert accuracy(speed_top1(played(store, sparse=trace, reversed=trace))) > 0.9
    assert accuracy(order_top1(played(store, sparse=trace, reversed=trace))) <= 0.6


def test_what_tells_halves_apart_tells_no_speed(store: ClipStore) -> None:
    """Both halves stand for a clip at its own speed, as often."""
    trace = 5 * noise(1, 2, WIDTH, seed=1)
    answers = speed_top1(played(store, first=trace, second=-trace))
    assert accuracy(answers) < 0.9
    only_first = speed_top1(played(store, first=trace, second=trace))
    assert accuracy(only_first) > 0.95


@pytest.mark.parametrize("metric", [order_top1, speed_top1])
def test_both_ways_of_a_clip_are_asked_about_in_one_fold(store: ClipStore, metric: type) -> None:
    answers = metric(played(store))
    for repeat in range(5):
        asked = [
            sorted(zip(answers.clips[chosen].tolist(), answers.folds[chosen].tolist(), strict=True))
            for chosen in ((answers.repeats == repeat) & (answers.labels == way) for way in (0, 1))
        ]
        assert asked[0] == asked[1] and len(asked[0]) == 16


def test_halves_are_found_by_what_they_show(store: ClipStore) -> None:
    assert accuracy(retrieval_top1(played(store))) == 1.0
    shuffled = noise(16, 2, WIDTH, seed=5)
    assert accuracy(retrieval_top1(played(store, second=shuffled))) < 0.4


@pytest.mark.parametrize("metric", [order_top1, speed_top1, retrieval_top1])
def test_a_clip_of_one_time_slot_is_not_asked_about(store: ClipStore, metric: type) -> None:
    assert metric(probed(store, lambda panel: Features(noise(len(panel.ids), 1, WIDTH), {}))) is None

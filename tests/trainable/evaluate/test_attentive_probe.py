"""The attentive probe finds what stands in one token, and chooses without the clips that it answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.evaluate.probing import accuracy, labelled, noise
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate import attentive_probe
from trainable.evaluate.answers import Answers
from trainable.evaluate.attentive_probe import attentive_top1
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.judged import Probed
from trainable.evaluate.panel import Panel

TOKENS, WIDTH = 6, 24


def probed(store: ClipStore, make: Any, **evaluation: Any) -> Probed:
    """Tokens of the panel that `make` gives, of the panel."""
    evaluator = Evaluator(store, EvaluationConfig(**{"attentive_steps": 1, **evaluation}))
    evaluator.close()
    return Probed(evaluator.on, lambda: pytest.fail("asked for pooled features"), lambda: make(evaluator.on.panel))


def nothing(panel: Panel) -> torch.Tensor:
    return torch.from_numpy(noise(len(panel.ids), TOKENS, WIDTH)).half()


def in_one_token(panel: Panel) -> torch.Tensor:
    """Which of two classes it is stands in one token, anywhere; another says the opposite, so the mean hides it."""
    clips = np.arange(len(panel.ids))
    tokens = 0.5 * noise(len(clips), TOKENS, WIDTH)
    one, other = np.argsort(noise(len(clips), TOKENS, seed=1), axis=1)[:, :2].T
    for place, mark, sign in ((one, 1, 1), (other, 2, -1)):
        tokens[clips, place, 0] = 8 * sign * (2 * panel.labels - 1)
        tokens[clips, place, mark] = 8
    return torch.from_numpy(tokens).half()


def test_what_stands_in_one_token_of_many_is_read(store: ClipStore) -> None:
    parted = labelled(store, np.arange(32) % 2, np.arange(16) % 2)
    assert accuracy(attentive_top1(probed(parted, in_one_token, attentive_steps=250))) > 0.75


def test_noise_is_not_read(store: ClipStore) -> None:
    """The best of several probes on the clips that are reported would be."""
    assert accuracy(attentive_top1(probed(store, nothing, attentive_steps=100))) < 0.3


def test_every_clip_is_answered_once_in_the_folds_of_the_panel(store: ClipStore) -> None:
    judged = probed(store, nothing, folds=4, repeats=3)
    answers, panel = attentive_top1(judged), judged.on.panel
    assert isinstance(answers, Answers)
    assert sorted(answers.clips.tolist()) == [*range(48)]
    assert (answers.folds == panel.folds[0][answers.clips]).all()
    assert (answers.labels == panel.labels[answers.clips]).all()
    again = attentive_top1(probed(store, nothing, folds=4, repeats=3))
    assert isinstance(again, Answers) and (again.predicted == answers.predicted).all()


def test_the_clips_it_answers_take_no_part_in_fitting_or_choosing(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped = replace(
        store,
        train=replace(store.train, groups=tuple(f"g{clip // 2}" for clip in range(32))),
        val=replace(store.val, groups=tuple(f"h{clip // 2}" for clip in range(16))),
    )
    parts: list[tuple[Any, Any]] = []
    choose = attentive_probe._parts

    def watched(panel: Panel, clips: Any, outside: Any) -> tuple[Any, Any]:
        parts.append(choose(panel, clips, outside))
        return parts[-1]

    monkeypatch.setattr(attentive_probe, "_parts", watched)
    judged = probed(grouped, nothing, folds=3)
    attentive_top1(judged)
    panel = judged.on.panel
    assert len(parts) == 3
    for fold, (fitted, choosing) in enumerate(parts):
        assert len(choosing)
        asked = np.flatnonzero(panel.folds[0] == fold)
        sets = [{*panel.groups[rows]} for rows in (fitted, choosing, asked)]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
        assert len(fitted) + len(choosing) + len(asked) == 48


@pytest.mark.parametrize(
    "labels",
    [[0, 0, 1, *[2] * 10, *[3] * 35], [0, 0, *[1] * 46], [0, 0, 1, 1, *range(2, 46)]],
    ids=["a class of two clips", "two classes, one of two clips", "two classes of two clips alone"],
)
def test_small_classes_are_answered(store: ClipStore, labels: list[int]) -> None:
    answers = attentive_top1(probed(labelled(store, labels[:32], labels[32:]), nothing))
    assert isinstance(answers, Answers)
    assert {*answers.predicted.tolist()} <= {*answers.labels.tolist()}


def test_two_folds_leave_enough_to_choose_on(store: ClipStore) -> None:
    assert isinstance(attentive_top1(probed(store, nothing, folds=2)), Answers)


@pytest.mark.parametrize("labels", [[0] * 48, [*range(48)]], ids=["one class", "a class a clip"])
def test_nothing_is_measured_without_two_classes(store: ClipStore, labels: list[int]) -> None:
    judged = probed(labelled(store, labels[:32], labels[32:]), lambda _: pytest.fail("asked for tokens"))
    assert attentive_top1(judged) is None


def test_nothing_is_measured_without_tokens(store: ClipStore) -> None:
    assert attentive_top1(Probed(probed(store, nothing).on, lambda: pytest.fail("asked for features"))) is None

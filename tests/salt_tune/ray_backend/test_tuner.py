"""What each trial gets of the machine, known before anything is started."""

import pytest

from salt_tune.ray_backend import tuner
from salt_tune.ray_backend.tuner import Resources, share_out
from trainable.errors import UserError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Eight cores, and as many GPUs as the test says."""
    gpus: int = request.param
    monkeypatch.setattr(tuner, "count_gpus", lambda: gpus)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize("machine", [0], indirect=True)
@pytest.mark.usefixtures("machine")
def test_without_a_gpu() -> None:
    assert share_out(None, None) == share_out("auto", None) == Resources(4, 2, 0.0)
    assert share_out(2, 0) == Resources(2, 4, 0.0)
    with pytest.raises(UserError, match="--gpus-per-trial = 1: this machine has none"):
        share_out(None, 1)


@pytest.mark.parametrize("machine", [2], indirect=True)
@pytest.mark.usefixtures("machine")
def test_with_two_gpus() -> None:
    assert share_out(None, None) == Resources(2, 4, 1.0)
    assert share_out(4, None) == Resources(4, 2, 0.5)
    assert share_out(1, None) == Resources(1, 8, 2.0)
    assert share_out(None, 0.5) == Resources(4, 2, 0.5)
    assert share_out(None, 0) == Resources(4, 2, 0.0)
    for concurrent, each, words in ((None, 3, "has 2"), (None, 1.5, "whole number"), (5, 0.5, "at most 4 fit")):
        with pytest.raises(UserError, match=words):
            share_out(concurrent, each)


def test_gpus_are_counted_without_starting_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert tuner.count_gpus() == 0

"""What is known of the machine before Ray is started."""

import pytest

from salt_tune.ray_backend import session
from salt_tune.resources.allocation import Resources


@pytest.mark.parametrize(("gpus", "found"), [(0, Resources(4, 2, 0.0)), (2, Resources(2, 4, 1.0))])
def test_this_machine_is_shared_out(gpus: int, found: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "count_gpus", lambda: gpus)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert session.machine_share(None, None) == session.machine_share("auto", None) == found
    assert session.machine_share(None, 0) == Resources(4, 2, 0.0)


def test_gpus_are_counted_without_starting_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert session.count_gpus() == 0

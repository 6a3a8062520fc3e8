"""What runs beside a search is what it uses."""

import psutil
import pytest
from ray._private.node import Node

from salt_tune.ray_backend import daemons
from salt_tune.ray_backend.session import ray_session
from salt_tune.resources.allocation import Resources


def test_ray_starts_without_dashboard_autoscaler_and_log_monitor() -> None:
    methods = [getattr(Node, name) for name in daemons.UNUSED]
    with ray_session(Resources(1, 1, 0.0)):
        commands = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    assert any("gcs_server" in command for command in commands)
    for daemon in ("dashboard.py", "autoscaler/_private/monitor.py", "log_monitor.py"):
        assert not any(daemon in command for command in commands), daemon
    assert [getattr(Node, name) for name in daemons.UNUSED] == methods


def test_another_version_of_ray_may_name_them_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "UNUSED", ("start_something_else",))
    with daemons.only_daemons_in_use():
        assert not hasattr(Node, "start_something_else")
    assert not hasattr(Node, "start_something_else")

"""Ray's daemons that a search has no use for: each takes a second of a core as Ray starts, and listens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSED = (
    "start_monitor",  # of the autoscaler: nothing is scaled
    "start_log_monitor",  # hands workers' output to the driver, which `log_to_driver=False` turns away
    "start_api_server",  # the dashboard's, which starts with `include_dashboard=False` too
)


@contextmanager
def only_daemons_in_use() -> Iterator[None]:
    """Lets `ray.init` start no daemon of `UNUSED` inside; `ray start` has flags for it, `ray.init` has none.

    A Ray that starts them elsewhere starts them still.
    """
    from ray._private.node import Node

    methods = {name: getattr(Node, name) for name in UNUSED if hasattr(Node, name)}
    for name in methods:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(Node, name, method)


def _start_nothing(*_: Any, **__: Any) -> None: ...

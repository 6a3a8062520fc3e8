"""Hyperparameter search for video self-supervision on Ray Tune: the commands, and all that talks to Ray."""

import signal
import sys

_is_command = "".join(sys.argv[:1]).rpartition("/")[2] in ("-m", "salt-tune")
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While a command still loads, Ctrl-C ends it at once and without a traceback; `ui.signals` takes over then. It
    # stands before whatever takes time to load.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from salt_tune.api import resume, search

__all__ = ["resume", "search"]


def __getattr__(name: str) -> Any:
    """Loads `salt_tune.search(...)` and `salt_tune.resume(...)` only when they are asked for.

    `salt_tune.search` is the module of the command, which can be called; see there.
    """
    if name == "search":
        return import_module("salt_tune.search")
    if name == "resume":
        return import_module("salt_tune.api").resume
    raise AttributeError(f"module 'salt_tune' has no attribute {name!r}")

"""Calls into what is written for others to see, and may fail without ending a search."""

from collections.abc import Callable
from typing import TypeVar

from salt_tune.ui.console import console

T = TypeVar("T")


class Lenient:
    """Calls until a call fails; then one line says so, and nothing more is called.

    Args:
        warning: that line, with `{why}` in it.

    Attributes:
        lost: whether a call has failed.
    """

    def __init__(self, warning: str) -> None:
        self.lost, self._warning = False, warning

    def __call__(self, call: Callable[[], T]) -> T | None:
        """Calls, unless a call has failed before; None where it fails."""
        if self.lost:
            return None
        try:
            return call()
        except Exception as error:  # of a library, of a process or thread that it starts, of the files that it writes
            self.lost = True
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            console.warn(self._warning.format(why=why))
            return None

"""A second network on this machine, for a node that can be cut off: a namespace, joined to ours by two devices."""

import os
import subprocess
from types import TracebackType

OURS, THEIRS, MASK = "10.77.0.1", "10.77.0.2", 30


class MadeNetwork:
    """A network namespace with one address; a context, at whose end it is gone.

    Attributes:
        name: of the namespace.
        ours: address of this machine, as it is seen from there.
        theirs: address in the namespace.
    """

    ours, theirs = OURS, THEIRS

    def __init__(self) -> None:
        self.name = f"salt{os.getpid() % 100000}"
        self._device = f"{self.name}a"

    def __enter__(self) -> "MadeNetwork":
        """Makes it.

        Raises:
            PermissionError: this user may not.
        """
        there = f"{self.name}b"
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self._device, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", self.name)
            _ip("addr", "add", f"{OURS}/{MASK}", "dev", self._device)
            _ip("link", "set", self._device, "up")
            _ip("-n", self.name, "addr", "add", f"{THEIRS}/{MASK}", "dev", there)
            for device in ("lo", there):
                _ip("-n", self.name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__(None, None, None)
            raise PermissionError("no network namespace can be made here") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes it away."""
        for words in (("netns", "del", self.name), ("link", "del", self._device)):
            subprocess.run(["ip", *words], capture_output=True, check=False)  # noqa: S607

    def cut(self) -> None:
        """Lets nothing pass; nothing is told of it."""
        _ip("link", "set", self._device, "down")

    def heal(self) -> None:
        """Lets all pass again."""
        _ip("link", "set", self._device, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)  # noqa: S607

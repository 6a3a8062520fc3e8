"""A run that another process may be running: what it is, which process holds it, and how it is gone on with."""

from dataclasses import dataclass
from pathlib import Path

from analysis.run_directory.held import is_held
from analysis.run_directory.paths import FinalDirectory, RunDirectory, find_directory
from salt_tune.runs.holder import Holder
from salt_tune.runs.lock import find_holder
from salt_tune.ui.format import resume_command, shell_command


@dataclass(frozen=True)
class Watched:
    """A run as it is at one moment.

    Attributes:
        directory: of a search, or of a promoted run.
        running: whether a process holds its lock.
        holder: that process, or the last one that did; None: not known.
    """

    directory: RunDirectory | FinalDirectory
    running: bool
    holder: Holder | None

    @property
    def goes_on(self) -> str | None:
        """The command that goes on with it; None: not known."""
        path = self.directory.path
        if isinstance(self.directory, RunDirectory):
            return resume_command(path)
        return shell_command("salt_tune.promote", path.parents[1], *self.holder.goes_on) if self.holder else None

    @property
    def finals(self) -> list[FinalDirectory]:
        """The promoted runs of a search; a promoted run has none."""
        return self.directory.finals() if isinstance(self.directory, RunDirectory) else []

    @property
    def killed(self) -> bool:
        """Whether its last process ended without giving it back."""
        return not self.running and self.holder is not None and self.holder.until is None

    @property
    def elsewhere(self) -> bool:
        """Whether a process runs it that cannot be seen from here: on another machine, or in another container."""
        return self.running and not (self.holder and self.holder.alive)


def watch(directory: RunDirectory | FinalDirectory) -> Watched:
    """Returns which process runs a run; takes nothing."""
    running = is_held(directory.lock)
    return Watched(directory, running, find_holder(directory.lock) if directory.lock.exists() else None)


def watch_path(path: Path) -> Watched:
    """Returns which process runs the run at `path`; takes nothing.

    Raises:
        RunError: there is none.
    """
    return watch(find_directory(path))

"""Whether the ranks of a shared final run get on: as each waits for all others, one that hangs silences all."""

from pathlib import Path

from salt_tune.ray_backend.nodes import killed_on
from salt_tune.ray_backend.signs_of_life import SignsOfLife
from trainable import heartbeat


def begin_signs(folder: Path, rank: int) -> None:
    """Has this process, a rank, give its signs of life in a folder, which is made; its node is in the file's name."""
    import ray

    folder.mkdir(parents=True, exist_ok=True)
    heartbeat.begin(folder / f"{rank}.{ray.get_runtime_context().get_node_id()}")


class RankSigns:
    """The signs of all ranks, as they are seen from here.

    Args:
        folder: where they give them; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ranks: dict[Path, SignsOfLife] = {}

    def silent(self) -> float:
        """Returns the seconds since the last new sign of any rank; 0 before the first."""
        for file in self._folder.glob("*.*"):
            self._ranks.setdefault(file, SignsOfLife(file))
        return min((signs.silent() for signs in self._ranks.values()), default=0.0)

    def kill(self) -> None:
        """Kills all ranks, also those that are stopped and hear nothing else; does not wait for it."""
        for file, signs in self._ranks.items():
            if (pid := signs.pid) is not None:
                killed_on(file.name.partition(".")[2], pid)

"""How small the drawing of each room stays: floors, and arrows between folders.

`lint-imports` refuses an import upwards or along a floor. This counts what is left: as it does, without the imports
that only type checkers read. Modules at the root of a room are its ground, which all may import; the commands of
`salt_tune` are one box, and its registry is another.
"""

from dataclasses import dataclass
from graphlib import TopologicalSorter

import grimp
import pytest

COMMANDS = ("__main__", "cli", "prepare", "search", "promote", "encode", "status", "watch", "logs", "stop",
            "compare", "export", "ls", "reproduce", "rm", "show", "suggest", "write_report", "options",
            "api", "run_search", "run_promotion")  # fmt: skip


@dataclass(frozen=True)
class Room:
    """What a room may grow to.

    Attributes:
        name: of the package.
        floors: of boxes above each other, with the ground where there is one; so many at most.
        arrows: between its boxes, so many at most.
        split: folders whose folders are boxes of their own.
        boxes: modules at the root that are drawn, and the box that they are drawn in.
    """

    name: str
    floors: int
    arrows: int
    split: tuple[str, ...] = ()
    boxes: tuple[tuple[str, str], ...] = ()

    def box(self, module: str, folders: frozenset[str]) -> str | None:
        """The box of a module; None: it is ground."""
        _, *path = module.split(".")
        depth = 2 if path and path[0] in self.split else 1
        box = ".".join(path[:depth])
        return box if box in folders else dict(self.boxes).get(box)

    @property
    def has_ground(self) -> bool:
        """Whether modules at the root are drawn in no box; a room where all are has none."""
        graph = grimp.build_graph(self.name, cache_dir=None)
        roots = {module.split(".")[1] for module in graph.find_children(self.name) if not graph.find_children(module)}
        return not roots <= {*dict(self.boxes)}

    def arrows_between(self) -> dict[str, set[str]]:
        """The boxes that each box imports."""
        graph = grimp.build_graph(self.name, cache_dir=None, exclude_type_checking_imports=True)
        parents = frozenset(module.rpartition(".")[0] for module in graph.modules)
        folders = frozenset(".".join(folder.split(".")[1:]) for folder in parents) - {""}
        arrows: dict[str, set[str]] = {}
        for module in graph.modules:
            if (box := self.box(module, folders)) is not None:
                imported = (self.box(other, folders) for other in graph.find_modules_directly_imported_by(module))
                arrows.setdefault(box, set()).update(below for below in imported if below not in (None, box))
        return arrows


def floors(arrows: dict[str, set[str]]) -> int:
    """How many boxes stand above each other; a circle is an error."""
    floor: dict[str, int] = {}
    for box in TopologicalSorter(arrows).static_order():
        floor[box] = 1 + max((floor[below] for below in arrows[box]), default=0)
    return max(floor.values())


ROOMS = [
    Room("salt_tune", 6, 35, boxes=(("registry", "registry"), *((name, "commands") for name in COMMANDS))),
    Room("trainable", 7, 40, split=("data",)),
    Room("analysis", 4, 6),
]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_is_as_small_as_its_drawing(room: Room) -> None:
    arrows = room.arrows_between()
    drawn = sorted(f"{box} -> {below}" for box, others in arrows.items() for below in others)
    assert len(drawn) <= room.arrows, f"{len(drawn)} arrows: {'; '.join(drawn)}"
    assert floors(arrows) + room.has_ground <= room.floors

"""Which clips are held out, where videos come without a split: a share of each class, in whole groups."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class _Group:
    """Clips that stay together, as the split sees them: how many of each class."""

    key: bytes
    clips: dict[str, int] = field(default_factory=dict)


class _Classes:
    """How many clips of each class are held out, beside how many should be, and how many groups are trained on."""

    def __init__(self, groups: Iterable[_Group], val_fraction: float) -> None:
        clips, self.trained = defaultdict[str, int](int), defaultdict[str, int](int)
        for group in groups:
            for label, count in group.clips.items():
                clips[label] += count
                self.trained[label] += 1
        self.wanted = {label: max(1, round(val_fraction * count)) for label, count in clips.items()}
        self.held = dict.fromkeys(clips, 0)

    def hold(self, group: _Group) -> None:
        for label, count in group.clips.items():
            self.held[label] += count
            self.trained[label] -= 1

    def may_hold(self, group: _Group) -> bool:
        """Says whether every class keeps a group to train on."""
        return all(self.trained[label] > 1 for label in group.clips)

    def cost(self, group: _Group) -> int:
        """Returns how much further from what is wanted the classes are with the group held out; below 0: nearer."""
        return sum(
            abs(self.held[label] + count - self.wanted[label]) - abs(self.held[label] - self.wanted[label])
            for label, count in group.clips.items()
        )


def held_out(
    classes: Mapping[str, str],
    groups: Mapping[str, str],
    val_fraction: float,
    seed: int,
    sides: Mapping[str, str] | None = None,
) -> set[str]:
    """Chooses the clips that are held out: whole groups, in every class about `val_fraction` of its clips.

    Groups come in the order of the hash of (seed, group); one is held out where that brings its classes nearer to their
    shares. A class that has none then gets the group that suits best. The last group of a class is always trained on.
    Where every class has a single group, that leaves nothing to hold out. All clips then count as one class, since a
    held-out loss still means something.

    Args:
        classes: class of every clip, by its id.
        groups: group of every clip, by its id: with its id as its group, a clip stands for itself.
        val_fraction: above 0 and below 1.
        seed: chooses.
        sides: groups whose side is settled, and which: "train" or "val".

    Returns:
        Ids of the clips; where there are two groups or more and no side is settled, some but not all.
    """
    settled = dict(sides or {})
    chosen = _choose(classes, groups, val_fraction, seed, settled)
    if not chosen and not settled:
        chosen = _choose(dict.fromkeys(classes, ""), groups, val_fraction, seed, settled)
    return {name for name, group in groups.items() if group in chosen}


def _choose(
    classes: Mapping[str, str], groups: Mapping[str, str], val_fraction: float, seed: int, sides: dict[str, str]
) -> set[str]:
    """Chooses the names of the groups that are held out."""
    by_name: dict[str, _Group] = {}
    for name, group in groups.items():
        if group not in by_name:
            by_name[group] = _Group(_draw(seed, group))
        clips, label = by_name[group].clips, classes[name]
        clips[label] = clips.get(label, 0) + 1
    state = _Classes(by_name.values(), val_fraction)
    chosen = {name for name in by_name if sides.get(name) == "val"}
    for name in chosen:
        state.hold(by_name[name])
    free = sorted((name for name in by_name if name not in sides), key=lambda name: by_name[name].key)
    for name in free:
        if state.cost(by_name[name]) < 0 and state.may_hold(by_name[name]):
            state.hold(by_name[name])
            chosen.add(name)
    of_class: dict[str, list[str]] = {label: [] for label, count in state.held.items() if not count}
    for name in free:
        for label in by_name[name].clips.keys() & of_class.keys():
            of_class[label].append(name)
    for label, names in sorted(of_class.items()):
        may = [name for name in names if state.may_hold(by_name[name])]
        if may and not state.held[label]:  # another class may have held one out that has clips of this one
            best = min(may, key=lambda name: state.cost(by_name[name]))  # of equal ones the first drawn
            state.hold(by_name[best])
            chosen.add(best)
    return chosen


def _draw(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()

"""Whole groups are held out: never one on both sides, about the share asked for, whatever the order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainable.data.video.splitting import held_out

FRACTIONS = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 5)


@st.composite
def folders(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str]]:
    """Classes and groups of clips: groups of one class, or of several."""
    count = draw(st.integers(2, 40))
    names = [f"clip {number}" for number in range(count)]
    classes = dict(zip(names, draw(st.lists(st.sampled_from("abcd"), min_size=count, max_size=count)), strict=True))
    drawn = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    pure = draw(st.booleans())
    return classes, {name: f"{classes[name] if pure else ''}{n}" for name, n in zip(names, drawn, strict=True)}


@given(folders(), FRACTIONS, SEEDS, st.randoms())
def test_no_group_is_torn_and_no_split_is_empty(folder, fraction, seed, random) -> None:  # type: ignore[no-untyped-def]
    classes, groups = folder
    val = held_out(classes, groups, fraction, seed)
    sides = {group: {name in val for name in groups if groups[name] == group} for group in groups.values()}
    assert all(len(both) == 1 for both in sides.values())
    if len(sides) > 1:
        assert 0 < len(val) < len(classes)
    shuffled = random.sample(sorted(classes), len(classes))
    assert held_out({n: classes[n] for n in shuffled}, {n: groups[n] for n in shuffled}, fraction, seed) == val


@given(folders(), FRACTIONS, SEEDS)
def test_classes_with_groups_of_their_own_hold_out_as_near_as_one_group_can_bring_them(folder, fraction, seed) -> None:  # type: ignore[no-untyped-def]
    classes, groups = folder
    groups = {name: f"{classes[name]} {group}" for name, group in groups.items()}
    val = held_out(classes, groups, fraction, seed)
    several = {label for label in classes.values() if len({groups[n] for n in groups if classes[n] == label}) > 1}
    for label in several:
        sizes = Counter(groups[name] for name in classes if classes[name] == label)
        held = {group for group in sizes if any(groups[name] == group for name in val)}
        assert 0 < len(held) < len(sizes)
        wanted = max(1, round(fraction * sizes.total()))
        off = abs(sum(sizes[group] for group in held) - wanted)
        if len(held) < len(sizes) - 1:  # another one may go
            nearer = [
                group for group in sizes.keys() - held if abs(sum(sizes[g] for g in held | {group}) - wanted) < off
            ]
            assert not nearer


@given(st.integers(2, 60), FRACTIONS, SEEDS)
def test_clips_that_stand_for_themselves_are_held_out_to_the_clip(count: int, fraction: float, seed: int) -> None:
    names = {f"c{number}": "a" for number in range(count)}
    val = held_out(names, {name: name for name in names}, fraction, seed)
    assert len(val) == min(max(1, round(fraction * count)), count - 1)


def test_groups_of_several_classes_stay_whole_and_cover_the_classes() -> None:
    clips = {f"person {person}/{label} {take}": label for person in range(10) for label in "abc" for take in range(3)}
    groups = {name: name.partition("/")[0] for name in clips}
    val = held_out(clips, groups, 0.2, seed=1)
    assert Counter(clips[name] for name in val) == {"a": 6, "b": 6, "c": 6}
    assert len({groups[name] for name in val}) == 2


def test_groups_whose_side_is_settled_stay_there_and_count() -> None:
    clips = {f"{group}-{number}": "a" for group in range(10) for number in range(4)}
    groups = {name: name.partition("-")[0] for name in clips}
    sides = {"0": "val", "1": "val", "2": "train"}
    val = {groups[name] for name in held_out(clips, groups, 0.2, 0, sides)}
    assert val == {"0", "1"}, "as many as are wanted"
    assert held_out(clips, groups, 0.2, 0, {"0": "train"}) & {name for name in clips if groups[name] == "0"} == set()
    assert held_out({"x": "a", "y": "a"}, {"x": "0", "y": "0"}, 0.2, 0, {"0": "val"}) == {"x", "y"}

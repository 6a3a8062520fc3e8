"""Moving shapes: the class is in the motion alone, and what is written can be written again."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainable.data.video.reader import read_clip
from trainable.data.video.synthetic import CLASSES, Scene, draw_scene, render, write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.errors import ConfigError, VideoError

OPPOSITES = [
    {"Moving [something] left", "Moving [something] right"},
    {"Moving [something] up", "Moving [something] down"},
    {"Turning [something] clockwise", "Turning [something] counter-clockwise"},
    {"Growing [something]", "Shrinking [something]"},
]
LABELS = {name: index for index, name in enumerate(CLASSES)}


def scene(template: str, speed: float, growth: float = 0.0) -> Scene:
    """An arrow in the middle that points right at first."""
    return Scene(LABELS[template], (0.5, 0.5, 0.0, growth), speed, "arrow", hue=0.3, background=0)


def mask(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where the shape is, shape (frames, size, size): the background is darker."""
    return np.asarray(frames.max(axis=-1) > 140)


def centre(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean row and column of the shape in every frame, shape (frames, 2)."""
    return np.stack([np.argwhere(frame).mean(axis=0) for frame in mask(frames)])


@pytest.mark.parametrize(
    ("template", "step"),
    [
        ("Moving [something] left", (0, -2)),
        ("Moving [something] right", (0, 2)),
        ("Moving [something] up", (-2, 0)),
        ("Moving [something] down", (2, 0)),
    ],
)
def test_shapes_move_as_their_class_says(template: str, step: tuple[int, int]) -> None:
    steps = np.diff(centre(render(scene(template, speed=0.125), frames=4)), axis=0)
    np.testing.assert_allclose(steps, np.tile(step, (3, 1)), atol=0.1)


@pytest.mark.parametrize(
    ("template", "turns"), [("Turning [something] clockwise", -1), ("Turning [something] counter-clockwise", 1)]
)
def test_shapes_turn_as_their_class_says(template: str, turns: int) -> None:
    first, second = mask(render(scene(template, speed=0.5, growth=0.9), frames=2))  # half of half a turn
    assert (np.rot90(first, turns) == second).mean() > 0.99
    assert (np.rot90(first, -turns) == second).mean() < 0.98


@pytest.mark.parametrize(
    ("template", "sign", "growth"), [("Growing [something]", 1, 0.0), ("Shrinking [something]", -1, 0.9)]
)
def test_shapes_grow_as_their_class_says(template: str, sign: int, growth: float) -> None:
    areas = mask(render(scene(template, speed=0.8, growth=growth), frames=8)).sum(axis=(1, 2))
    assert (np.diff(areas) * sign > 0).all()


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_a_reversed_clip_is_one_of_the_opposite_class(label: int) -> None:
    for seed in range(4):
        forward = draw_scene(label, np.random.default_rng(seed))
        backward = forward.reversed(16)
        assert {CLASSES[forward.label], CLASSES[backward.label]} in OPPOSITES
        difference = render(forward)[::-1].astype(int) - render(backward)
        assert np.abs(difference).max() <= 2
        assert backward.reversed(16).phases == pytest.approx(forward.phases)


def test_classes_differ_in_nothing_but_motion() -> None:
    first_frames = [render(draw_scene(label, np.random.default_rng(5)))[0] for label in range(len(CLASSES))]
    for frame in first_frames[1:]:
        np.testing.assert_array_equal(frame, first_frames[0])


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_no_frame_tells_the_class(label: int) -> None:
    rng = np.random.default_rng(label)
    phases = np.stack([draw_scene(label, rng).phases_over(16) for _ in range(2000)])  # (scenes, frames, 4)
    # Each phase is uniform in every frame (Kolmogorov-Smirnov, p = 1e-6), and no two go together.
    even = (np.arange(2000) + 0.5)[:, None, None] / 2000
    assert np.abs(np.sort(phases, axis=0) - even).max() < 0.06
    for frame in (0, 8, 15):
        together = np.corrcoef(np.exp(2j * np.pi * phases[:, frame]).T)
        assert np.abs(together - np.eye(4)).max() < 0.1


def test_the_video_shows_the_scene(tmp_path: Path) -> None:
    write_dataset(tmp_path, 16, seed=3)
    view = View(frames=16, size=64, patch=16)
    for index in range(len(CLASSES)):
        shown = view.to_frames(read_clip(tmp_path / f"{index + 1}.webm", view)[0][0])
        drawn = render(draw_scene(index, np.random.default_rng([3, index])))
        assert np.abs(shown.astype(int) - drawn).mean() < 6
        assert (mask(shown) == mask(drawn)).mean() > 0.98


def test_both_splits_are_balanced_and_in_the_layout_of_ssv2(tmp_path: Path) -> None:
    calls: list[None] = []
    write_dataset(tmp_path, 48, val_fraction=0.3, frames=2, size=16, on_clip=lambda: calls.append(None))
    source = find_source(tmp_path)
    assert len(calls) == 48
    assert source.labels == tuple(name.replace("[", "").replace("]", "") for name in CLASSES)
    assert Counter((clip.split, clip.label) for clip in source.clips) == {
        (split, label): count for split, count in (("train", 4), ("val", 2)) for label in source.labels
    }
    entry = json.loads((tmp_path / "train.json").read_text())[0]
    assert entry.keys() == {"id", "label", "template", "placeholders"}
    assert entry["label"] == entry["template"].replace("[something]", entry["placeholders"][0]).lower()


def test_an_interrupted_write_is_recognised_and_finished(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop_at_nine() -> None:
        if (tmp_path / "broken" / "9.webm").exists():
            raise StopError

    write_dataset(tmp_path / "whole", 16, frames=4, size=16)
    with pytest.raises(StopError):
        write_dataset(tmp_path / "broken", 16, frames=4, size=16, on_clip=stop_at_nine)
    with pytest.raises(VideoError, match=r"no train\.json"):
        find_source(tmp_path / "broken")
    kept = (tmp_path / "broken" / "1.webm").stat()
    write_dataset(tmp_path / "broken", 16, frames=4, size=16)
    assert (tmp_path / "broken" / "1.webm").stat().st_mtime_ns == kept.st_mtime_ns
    whole, broken = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "broken")
    )
    assert whole == broken


def test_another_dataset_is_not_mixed_in(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", 16, frames=2, size=16)
    with pytest.raises(VideoError, match="another folder"):
        write_dataset(tmp_path / "a", 16, frames=2, size=16, seed=1)
    (tmp_path / "mine.webm").touch()
    with pytest.raises(VideoError, match="empty folder"):
        write_dataset(tmp_path, 16)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"count": 15}, "synthetic"),
        ({"seed": -1}, "seed"),
        ({"frames": 1}, "frames"),
        ({"size": 33}, "size"),
        ({"size": 8}, "size"),
        ({"val_fraction": 1.0}, "val_fraction"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        write_dataset(tmp_path / "a", **{"count": 16} | arguments)
    assert caught.value.field == field
    assert not (tmp_path / "a").exists()

"""Makes labelled videos of moving shapes that only their motion classifies.

A clip has four phases: x, y, angle and size. Each is uniform in [0, 1) and wraps around. The frame is a torus,
the angle is a turn, and the size begins again at one end when it reaches the other. A class says which phase
changes and in which direction. So a single frame says nothing about the class, whichever frame it is. A clip
played backwards is a clip of the opposite class.
"""

import colorsys
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.errors import ConfigError, VideoError

CLASSES: Final = (  # in pairs of opposites: a pair for every phase, falling and rising
    "Moving [something] left",
    "Moving [something] right",
    "Moving [something] up",
    "Moving [something] down",
    "Turning [something] counter-clockwise",
    "Turning [something] clockwise",
    "Shrinking [something]",
    "Growing [something]",
)
SPEEDS: Final = (0.5, 0.9)  # cycles per clip
RADII: Final = (0.16, 0.32)  # of the frame
SHAPES: Final[dict[str, tuple[complex, ...]]] = {  # corners; none looks the same after a part of a turn
    "arrow": (1, 0.1 + 0.8j, 0.1 + 0.35j, -0.9 + 0.35j, -0.9 - 0.35j, 0.1 - 0.35j, 0.1 - 0.8j),
    "kite": (1, -0.5 + 0.75j, -0.15, -0.5 - 0.75j),
    "half disc": tuple(np.exp(1j * np.pi * (np.linspace(0, 1, 10) - 0.5)) - 0.4),
    "corner": (-0.7 - 0.7j, 0.8 - 0.7j, 0.8 - 0.15j, -0.15 - 0.15j, -0.15 + 0.9j, -0.7 + 0.9j),
    "flag": (-0.8 - 0.75j, 0.8 - 0.3j, -0.45 + 0.15j, -0.45 + 0.9j, -0.8 + 0.9j),
}

# One thread, no date and no random ids in the file: the same clip is the same bytes. Key frames only: a frame
# predicted from the one before would show in its artefacts where the shape came from.
_CODEC: Final = {
    "deadline": "realtime",
    "cpu-used": "8",
    "row-mt": "0",
    "threads": "1",
    "crf": "30",
    "b": "0",
    "g": "1",
}


@dataclass(frozen=True)
class Scene:
    """Everything that decides what a clip shows.

    Attributes:
        label: index in CLASSES.
        phases: x, y, angle and size in the first frame, in cycles.
        speed: cycles that the class's phase goes through in a clip.
        shape: a key of SHAPES.
        hue: colour of the shape, in [0, 1).
        background: seed of the background.
    """

    label: int
    phases: tuple[float, float, float, float]
    speed: float
    shape: str
    hue: float
    background: int

    def phases_over(self, frames: int) -> npt.NDArray[np.float64]:
        """Returns the phases in every frame of a clip, each in [0, 1), shape (frames, 4)."""
        phases = np.tile(np.array(self.phases), (frames, 1))
        moving, rising = divmod(self.label, 2)
        phases[:, moving] += (1 if rising else -1) * self.speed * np.arange(frames) / frames
        return phases % 1

    def reversed(self, frames: int) -> "Scene":
        """Returns the scene of the opposite class that shows the same `frames` frames backwards."""
        x, y, angle, size = self.phases_over(frames)[-1].tolist()
        return replace(self, label=self.label ^ 1, phases=(x, y, angle, size))


def draw_scene(label: int, rng: np.random.Generator) -> Scene:
    """Draws a scene of a class; the draws are the same for all classes."""
    x, y, angle, size = rng.random(4).tolist()
    return Scene(
        label=label,
        phases=(x, y, angle, size),
        speed=float(rng.uniform(*SPEEDS)),
        shape=tuple(SHAPES)[rng.integers(len(SHAPES))],
        hue=float(rng.random()),
        background=int(rng.integers(2**32)),
    )


def render(scene: Scene, frames: int = 16, size: int = 64) -> npt.NDArray[np.uint8]:
    """Draws a scene.

    Args:
        scene: what to draw.
        frames: number of frames.
        size: height and width of a frame in pixels.

    Returns:
        RGB frames, shape (frames, size, size, 3).
    """
    x, y, angle, growth = scene.phases_over(frames).astype(np.float32).T[..., None, None]
    radius = RADII[0] * (RADII[1] / RADII[0]) ** growth
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    across, down = ((part + 0.5) % 1 - 0.5 for part in (axis[None, None, :] - x, axis[None, :, None] - y))
    points = (across + 1j * down) * np.exp(-2j * np.pi * angle).astype(np.complex64) / radius
    depth = -_distance(points, SHAPES[scene.shape]) * radius * size  # pixels
    cover = np.clip(depth + 0.5, 0, 1)[..., None]
    shade = (0.6 + 0.4 * np.clip(depth / (0.05 * size), 0, 1))[..., None]  # a darker rim
    colour = np.array(colorsys.hsv_to_rgb(scene.hue, 0.65, 1), dtype=np.float32) * 255
    clip: npt.NDArray[np.float32] = _background(scene.background, size) * (1 - cover) + colour * shade * cover
    return np.rint(clip).astype(np.uint8)


def _background(seed: int, size: int) -> npt.NDArray[np.float32]:
    """Draws a dark, smooth field of colours with a little grain, shape (size, size, 3)."""
    rng = np.random.default_rng(seed)
    blots = Image.fromarray(rng.integers(20, 110, (3, 3, 3), dtype=np.uint8))
    field = np.asarray(blots.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip(field + rng.normal(0, 3, (size, size, 1)).astype(np.float32), 0, 255)


def _distance(points: npt.NDArray[np.complex64], corners: tuple[complex, ...]) -> npt.NDArray[np.float32]:
    """Computes the signed distance of points to a polygon, negative inside."""
    nearest = np.full(points.shape, np.inf, dtype=np.float32)
    inside = np.zeros(points.shape, dtype=bool)
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        edge = end - start
        # In the edge's own frame it runs from 0 to 1, and a point's imaginary part is its distance from the line.
        local = (points - np.complex64(start)) / np.complex64(edge)
        beyond = local.real - np.clip(local.real, 0, 1)
        np.minimum(nearest, (beyond**2 + local.imag**2) * np.float32(abs(edge) ** 2), out=nearest)
        # A ray to the right crosses the edge if it starts between its ends in height, and on its left side.
        between = (points.imag >= start.imag) != (points.imag >= end.imag)
        inside ^= between & ((local.imag > 0) == (edge.imag > 0))
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def write_dataset(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    val_fraction: float = 0.25,
    frames: int = 16,
    size: int = 64,
    on_clip: Callable[[], None] | None = None,
) -> None:
    """Writes clips and their labels in Something-Something v2's layout.

    The videos are VP9 at 12 frames a second, named 1.webm, 2.webm and so on; each depends only on its number,
    `seed`, `frames` and `size`. Every class has as many clips as any other in `validation.json`, and as many or
    one more in `train.json`. These two files are written last: a folder without them is unfinished.
    Writing it again with the same arguments keeps the videos that are there and adds the rest.

    Args:
        folder: where to write; made if needed. It must be empty, or hold the same dataset, finished or not.
        count: number of clips, at least two a class (16).
        seed: another seed makes other clips.
        val_fraction: fraction of the clips held out, above 0 and below 1; at least a clip a class in each split.
        frames: frames a clip, at least 2.
        size: height and width of a frame in pixels, even and at least 16.
        on_clip: called after each clip, also after one that was there already.

    Raises:
        ConfigError: an argument is out of range.
        VideoError: the folder holds something else.
    """
    for field, value, least in (("synthetic", count, 2 * len(CLASSES)), ("seed", seed, 0), ("frames", frames, 2)):
        if value < least:
            raise ConfigError(field, value, f"must be at least {least}")
    if size < 16 or size % 2:
        raise ConfigError("size", size, "must be even and at least 16")
    if not 0 < val_fraction < 1:
        raise ConfigError("val_fraction", val_fraction, "must be above 0 and below 1")

    recipe = {"count": count, "seed": seed, "val_fraction": val_fraction, "frames": frames, "size": size}
    _claim(folder, recipe)
    _write_json(folder / "labels.json", {_without_brackets(name): str(index) for index, name in enumerate(CLASSES)})
    entries: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    in_class = count // len(CLASSES)
    held_out = min(max(1, round(val_fraction * in_class)), in_class - 1)
    for index in range(count):
        scene = draw_scene(index % len(CLASSES), np.random.default_rng([seed, index]))
        path = folder / f"{index + 1}.webm"
        if not path.exists():
            _write_video(path, render(scene, frames, size))
        entries["validation" if index // len(CLASSES) < held_out else "train"].append(_entry(path.stem, scene))
        if on_clip:
            on_clip()
    for name, listed in entries.items():
        _write_json(folder / f"{name}.json", listed)


def _claim(folder: Path, recipe: dict[str, Any]) -> None:
    """Makes the folder this dataset's, or makes sure that it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "synthetic.json"
    if path.exists():
        if path.read_text() != json.dumps(recipe):
            raise VideoError(
                f"{path}: is {path.read_text()}, not {json.dumps(recipe)}: give another folder or the same"
            )
    elif any(file.suffix in {".json", ".webm"} for file in folder.iterdir()):
        raise VideoError(f"{folder}: holds other videos or labels: give an empty folder for the synthetic ones")
    else:
        _write_json(path, recipe)


def _entry(id_: str, scene: Scene) -> dict[str, Any]:
    """Returns a clip as SSv2 lists it."""
    template = CLASSES[scene.label]
    label = template.replace("[something]", scene.shape).lower()
    return {"id": id_, "label": label, "template": template, "placeholders": [scene.shape]}


def _without_brackets(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _write_json(path: Path, content: Any) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def _write_video(path: Path, frames: npt.NDArray[np.uint8]) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    with av.open(str(unfinished), "w", format="webm", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=12, options=_CODEC)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    unfinished.replace(path)

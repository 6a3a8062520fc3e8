"""`python -m benchmarks.teachers [--clips FOLDER]`: what probes read off the latents of teachers that need no weights.

Prepares a store with each of them, of the demo's videos and of a folder of labelled ones at the demo's view. Then sets
the latents beside random weights and raw pixels, as `prepare` does at its end.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from salt_tune.stores.demo import DEMO_CLIPS, DEMO_VIEW
from salt_tune.stores.teacher_panel import measure_teacher_panel
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.above_untrained import WITH_LABELS, above
from trainable.metrics import interval_fields

TEACHERS = ("pixel", "hog", "hog+motion")
(METRIC,) = WITH_LABELS


def main() -> None:
    """Measures and writes results/teachers-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="labelled videos beside the demo's, in folders by class")
    given = parser.parse_args()
    figures: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        for name, videos in (("demo", demo), *([(given.clips.name, given.clips)] if given.clips else [])):
            figures[name] = {}
            for teacher in TEACHERS:
                store = Path(folder) / f"{name}-{teacher}"
                _prepare(videos, store, teacher, synthetic=videos == demo)
                figures[name] |= _panel(ClipStore.open(store), teacher)
    machine.write("teachers", figures)


def _prepare(videos: Path, store: Path, teacher: str, *, synthetic: bool) -> None:
    geometry = [word for name, value in DEMO_VIEW.geometry.items() for word in (f"--{name}", str(value))]
    made = ["--synthetic", str(DEMO_CLIPS)] if synthetic else []
    words = [str(videos), "--store", str(store), "--teacher", teacher, *geometry, *made]
    subprocess.run([sys.executable, "-m", "salt_tune.prepare", *words], check=True)


def _panel(store: ClipStore, teacher: str) -> dict[str, str]:
    clips, panel = measure_teacher_panel(store)
    found = above(panel.teacher, (METRIC,), panel.untrained)
    others = {name: panel.fields[name] for name in ("untrained", "pixels", "chance")}
    said = {"clips": str(clips), **{name: _interval(fields) for name, fields in others.items()}}
    difference = f"above untrained {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
    return {**said, f"latents of {teacher}": f"{_interval(panel.fields['teacher'])}; {difference}"}


def _interval(fields: dict[str, float | None]) -> str:
    value, low, high = (fields.get(name) for name in (METRIC, *interval_fields(METRIC)))
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")


if __name__ == "__main__":
    main()

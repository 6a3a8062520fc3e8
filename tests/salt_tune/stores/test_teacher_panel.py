"""What the latents of a store know stands beside random weights, and a teacher that knows no more is warned of."""

from pathlib import Path

import numpy as np
import pytest

from salt_tune.stores import teacher_panel
from salt_tune.stores.teacher_panel import say_teacher_panel
from tests.small_store import build_store
from tests.trainable.evaluate.probing import labelled
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate import panel_baselines
from trainable.evaluate.answers import Answers
from trainable.evaluate.panel_baselines import PanelBaselines

BARS = ("teacher's latents", "untrained", "raw pixels", "chance")


@pytest.fixture(scope="module")
def own_store(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return build_store(tmp_path_factory.mktemp("stores") / "store", videos)


def said_of(store: ClipStore, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is said, warnings last."""
    say_teacher_panel(store)
    said = capsys.readouterr()
    return [*said.out.splitlines(), *said.err.splitlines()]


def test_it_is_measured_once_and_kept_in_the_store(
    own_store: ClipStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = said_of(own_store, capsys)
    assert said[0] == "What the latents know, of 48 clips: linear-probe accuracy; 95% over clips and folds"
    assert sorted(line[2:21].strip() for line in said[1:5]) == sorted(BARS)
    shares = [float(line.split("%")[0].split()[-1]) for line in said[1:5]]
    assert shares == sorted(shares, reverse=True)
    assert len([*(own_store.path / "baselines").glob("*.json")]) == 1
    monkeypatch.setattr(panel_baselines, "measure_baselines", lambda *_: pytest.fail("measured again"))
    assert said_of(own_store, capsys) == said


def answers(right: float, spread: float = 0.0) -> Answers:
    """Of 100 clips of two classes in 5 folds: the share of right ones in the middle fold, and what others differ by."""
    clips = np.arange(100)
    labels, folds = clips % 2, clips % 5
    wrong = clips // 5 >= np.round(20 * (right + spread * (folds - 2)))
    return Answers(clips, labels, np.zeros(100, dtype=np.int64), folds, labels ^ wrong)


@pytest.mark.parametrize(
    ("latents", "start", "ends"),
    [
        (0.9, "The latents of random know more than random weights do, by 20.0 points [5.3, 34.7]", ""),
        (0.7, "warning: the latents of random are not shown to know more than random weights, by 0.0", "weights"),
        (0.5, "warning: the latents of random know less than random weights, by -20.0", "weights"),
    ],
)
def test_the_verdict(
    own_store: ClipStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    latents: float,
    start: str,
    ends: str,
) -> None:
    fields: dict[str, dict[str, float | None]] = {
        name: {"probe_top1": 0.7} for name in ("untrained", "pixels", "chance", "teacher")
    }
    found = PanelBaselines(fields, ({"probe_top1": answers(0.7)},) * 3, {"probe_top1": answers(latents, 0.05)})
    monkeypatch.setattr(teacher_panel, "panel_baselines", lambda *_: found)
    last = said_of(own_store, capsys)[-1]
    assert last.startswith(start)
    assert last.endswith(ends)
    assert ("--teacher hog+motion" in last) == ("warning" in last)


def test_clips_of_one_class_say_nothing_of_the_latents(
    own_store: ClipStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(teacher_panel, "BASELINES", tmp_path)  # what is kept for its own labels is not asked
    (line,) = said_of(labelled(own_store, [0] * 32, [0] * 16), capsys)
    assert line.startswith("Clips have no two classes that probes can tell apart") and "effective rank" in line

"""Real footage, where it is at hand: another container, other sizes, one stop after the other."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Command, complaints
from trainable.data.store.clip_store import ClipStore

CLIPS = Path(__file__).parents[3] / "shared" / "clips"


@pytest.mark.slow  # footage that decodes slowly
@pytest.mark.skipif(not CLIPS.is_dir(), reason="no ../shared/clips")
def test_real_videos_become_a_store(command: Command, tmp_path: Path) -> None:
    for kind in ("surveillance/fight", "surveillance/no_fight", "signs"):
        (tmp_path / "clips" / kind).mkdir(parents=True)
        for path in sorted((CLIPS / kind).iterdir())[:4]:
            shutil.copy(path, tmp_path / "clips" / kind)
    done = command(
        "prepare",
        "clips",
        "--store",
        "store",
        "--frames",
        8,
        "--size",
        64,
        "--teacher-epochs",
        1,
        "--val-fraction",
        0.25,
    )
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    store = ClipStore.open(tmp_path / "store")
    assert store.labels == ["signs", "surveillance/fight", "surveillance/no_fight"]
    assert len(store.train) + len(store.val) + len(store.manifest["skipped"]) == 12
    assert len(store.val) == 3
    pixels = [store.pixels(store.train, number) for number in range(len(store.train))]
    assert all(clip.std() > 10 for clip in pixels)
    assert len({clip.tobytes() for clip in pixels}) == len(pixels)

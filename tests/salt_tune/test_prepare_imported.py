"""`--latents-from`: latents that somebody has on disk already, damaged ones among them, and how they are checked."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.faults.conftest import SMALL, assert_well, here, refused
from tests.salt_tune.test_prepare_teachers import Malicious
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.targets import normalise
from trainable.hashing import clip_key
from trainable.teachers.pixel import PixelTeacher

__all__ = ["here", "refused"]  # fixtures

Run = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]

COMMON = ("--store", "new/store", *SMALL, "--workers", 1)
TYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(scope="module")
def latents(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the latents of every clip of the store of `store_path`, in three types of floats."""
    folder = tmp_path_factory.mktemp("latents")
    store = ClipStore.open(store_path)
    teacher = PixelTeacher(store_path / "teacher", "cpu")
    for clips in (store.train, store.val):
        for number, clip in enumerate(clips.ids):
            computed = teacher.latents(torch.from_numpy(store.pixels(clips, number).copy())[None])[0]
            torch.save(computed.to(TYPES[number % 3]), folder / f"{clip}.pt")
    return folder


def test_they_are_imported_but_for_the_damaged(
    here: Run, videos: Path, store_path: Path, latents: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(latents, tmp_path / "latents"))
    original = ClipStore.open(store_path)
    bad = dict(zip(original.train.ids, ("there are no latents", *DAMAGES), strict=False))
    for clip, reason in bad.items():
        damage(folder / f"{clip}.pt", reason, tmp_path / "executed")
    wanted = torch.load(folder / f"{original.val.ids[0]}.pt").float().requires_grad_()
    torch.save(wanted, folder / f"{original.val.ids[0]}.pt")  # as somebody saves it who forgot no_grad
    (folder / "metadata.json").write_text(json.dumps({"num_frames": 8, "img_size": [32, 32], "model": "mine"}))

    done = here(videos, *COMMON, "--latents-from", folder)
    assert_well(done)
    assert "view: unverified" in done.stdout
    assert "--check-latents N" in done.stdout
    assert not (tmp_path / "executed").exists()
    store = ClipStore.open(tmp_path / "new" / "store")
    assert store.manifest["latents"]["view"] == "unverified"
    assert (store.teacher.name, store.manifest["teacher"]["metadata"]["model"]) == ("adopted", "mine")
    skipped = {clip["id"]: clip["reason"] for clip in store.manifest["skipped"]}
    assert skipped.keys() == bad.keys()
    for clip, reason in bad.items():
        assert f"{clip}.pt: {reason}" in skipped[clip]
        assert f"skipped {clip}: " in done.stdout
    for clips in (store.train, store.val):
        for number, clip in enumerate(clips.ids):
            expected = normalise(torch.load(folder / f"{clip}.pt").detach()[None], "layer_norm")[0].numpy()
            np.testing.assert_allclose(store.latents(clips, number), expected, rtol=2**-8, atol=1e-3)
    assert "nothing to do" in here(videos, *COMMON, "--latents-from", folder).stdout


def test_where_none_can_be_compared_the_reason_is_said(
    refused: Refused, videos: Path, store_path: Path, latents: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(latents, tmp_path / "latents"))
    first = min((path.stem for path in latents.glob("*.pt")), key=clip_key)
    (folder / f"{first}.pt").unlink()
    flags = ("--latents-from", folder, "--teacher-weights", store_path, "--check-latents", 1)
    assert f"{folder}: no latents could be compared: " in refused(videos, *COMMON, *flags)


DAMAGES = (
    "has the shape (65, 128); must be (64, 128)",
    "has the shape (64, 64); must be (64, 128)",
    "holds values that are not finite",
    "is not a file of one tensor, or is cut off",
    "holds no tensor of floats; must be one of shape (64, 128)",
    "holds no tensor of floats",
    "is not a file of one tensor",
)


def damage(path: Path, reason: str, executed: Path) -> None:
    """Makes of a good file one that is refused for `reason`; the same reason at first one way, then another."""
    good = torch.load(path).float()
    infinite = good.clone()
    infinite[3, 5] = torch.inf
    match (*DAMAGES, "there are no latents").index(reason):
        case 0:
            torch.save(torch.cat([good[:1], good]), path)
        case 1:
            torch.save(good[:, :64].clone(), path)
        case 2:
            torch.save(infinite, path)
        case 3:
            path.write_bytes(path.read_bytes()[:3000])
        case 4:
            torch.save({"latents": good}, path)
        case 5:
            torch.save(good.to_sparse(), path)
        case 6:
            torch.save(Malicious(executed), path)
        case _:
            path.unlink()


def test_they_are_checked(here: Run, videos: Path, store_path: Path, latents: Path, tmp_path: Path) -> None:
    flags = ("--latents-from", latents, "--teacher-weights", store_path, "--check-latents", 100)
    done = here(videos, *COMMON, *flags)
    assert_well(done)
    found = re.search(r"^checked on 48 clips against pixel: at most (\d\.\d)% off$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert float(found[1]) < 2
    assert "unverified" not in done.stdout
    store = ClipStore.open(tmp_path / "new" / "store")
    assert store.manifest["latents"]["view"] == "checked on 48 clips against pixel"


def test_latents_of_other_clips_or_frames(
    refused: Refused,
    videos: Path,
    store_path: Path,
    latents: Path,
    tmp_path: Path,
) -> None:
    files = sorted(latents.glob("*.pt"))
    shuffled, shifted = tmp_path / "shuffled", tmp_path / "shifted"
    for folder in (shuffled, shifted):
        folder.mkdir()
    for file, other in zip(files, files[1:] + files[:1], strict=True):
        shutil.copy(other, shuffled / file.name)
        # As of frames one slot later: the tokens of a slot are next to each other.
        torch.save(torch.load(file).roll(-16, dims=0), shifted / file.name)
    for folder in (shuffled, shifted):
        flags = ("--latents-from", folder, "--teacher-weights", store_path, "--check-latents", 4)
        line = refused(videos, *COMMON, *flags)
        assert re.search(rf"{folder}: \d+\.pt differs by \d+% from what pixel makes of the view stated", line)
        assert "other frames, another crop or another teacher" in line


def test_what_cannot_be_imported(
    refused: Refused, videos: Path, store_path: Path, latents: Path, tmp_path: Path
) -> None:
    for name, metadata in {
        "frames": '{"num_frames": 16}',
        "size": '{"image_size": 224}',
        "broken": "{",
        "list": "[]",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.json").write_text(metadata)
        shutil.copy(latents / "1.pt", tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "narrow").mkdir()
    torch.save(torch.zeros(1568, 768), tmp_path / "narrow" / "1.pt")
    given = ("--teacher-weights", store_path)
    cases: dict[tuple[object, ...], list[str]] = {
        ("--latents-from", "frames"): ["metadata.json: num_frames = 16", "frames = 8"],
        ("--latents-from", "size"): ["image_size = 224", "size = 32"],
        ("--latents-from", "broken"): ["metadata.json: is not readable JSON"],
        ("--latents-from", "list"): ["metadata.json: must be an object"],
        ("--latents-from", "nowhere"): ["nowhere: there is no such folder", "ID.pt"],
        ("--latents-from", "empty"): ["empty: holds no .pt file", "ID.pt"],
        ("--latents-from", "narrow"): ["1.pt: has the shape (1568, 768); must be (64, width)"],
        ("--latents-from", latents, "--check-latents", 4): ["--check-latents", "--teacher"],
        ("--latents-from", latents, "--views", 2): ["views = 2", "must be 1"],
        ("--check-latents", 4, *given): ["--check-latents", "--latents-from"],
        ("--check-latents", 4): ["--check-latents", "--latents-from"],
    }
    for flags, words in cases.items():
        line = refused(videos, *COMMON, *flags)
        for word in words:
            assert word in line

"""A store tells what it holds, whatever its formats, and its pictures open."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from analysis.text import printable
from salt_tune.stores.inspect import bytes_by_part, inspect_store, sample_latents
from salt_tune.stores.pictures import spread_over_classes
from salt_tune.ui.format import byte_size
from tests.conftest import ROOT
from tests.small_store import DIM, build_store
from trainable.data.store.clip_store import ClipStore
from trainable.errors import StoreError
from trainable.evaluate.baselines import BASELINE_NAMES, baseline_losses
from trainable.evaluate.config import EvaluationConfig

FORMATS: list[Any] = [
    {"pixels": "raw", "facts": {"val_r2": 0.4321}},
    {"pixels": "none", "latents": "int8", "views": 3},
    pytest.param({"pixels": "jpeg", "latents": "int8"}, marks=pytest.mark.slow),
]


class Inspected(NamedTuple):
    """A store, and what was said of it."""

    store: ClipStore
    output: str


@pytest.fixture(scope="module", params=FORMATS, ids=lambda formats: formats["pixels"])
def made(request: pytest.FixtureRequest, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return build_store(tmp_path_factory.mktemp("stores") / "store", videos, **request.param)


@pytest.fixture(scope="module")
def inspected(made: ClipStore) -> Inspected:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        inspect_store(made.path)
    return Inspected(made, said.getvalue())


def line(inspected: Inspected, name: str) -> str:
    return next(text.split(maxsplit=1)[1] for text in inspected.output.splitlines() if text.startswith(f"  {name} "))


def test_it_tells_clips_classes_and_view(inspected: Inspected) -> None:
    store, view = inspected.store, inspected.store.view
    assert line(inspected, "clips").startswith("32 training, 16 held-out")
    assert ("3 views of each training clip" in line(inspected, "clips")) == (view.views == 3)
    named = line(inspected, "classes")
    assert named.startswith("8: ") and named.endswith(", and 3 more")
    counts = [int(count) for count in re.findall(r" (\d+),", named)]
    labels = np.concatenate([store.train.labels, store.val.labels])
    assert counts == sorted(np.bincount(labels).tolist(), reverse=True)[:5]
    assert "8 frames of 32 x 32, patch 8, tubelet 2: 64 tokens (4 x 4 x 4)" in line(inspected, "view")
    assert line(inspected, "view").endswith(f"hash {view.hash[:12]}")
    assert line(inspected, "skipped") == "no clip"


def test_it_tells_formats_and_teacher(inspected: Inspected) -> None:
    store = inspected.store
    assert line(inspected, "pixels").startswith(store.pixel_format)
    assert line(inspected, "latents").startswith(f"{store.latent_format}, {DIM} wide")
    int8 = store.latent_format == "int8"
    assert ("relative error 0." in line(inspected, "latents")) == int8
    assert ("to val_loss" in line(inspected, "latents")) == int8
    assert line(inspected, "teacher").startswith("random 5eed5eed5eed, target norm layer_norm, view computed")
    assert ("val_r2 0.432" in line(inspected, "teacher")) == (store.pixel_format == "raw")


def test_it_tells_bytes(inspected: Inspected) -> None:
    store, sizes = inspected.store, bytes_by_part(inspected.store)
    rows = len(store.train) * store.view.views + len(store.val)
    values = DIM + 4 if store.latent_format == "int8" else DIM * 2
    assert sizes["latents"] == pytest.approx(rows * store.view.tokens * values, rel=0.02)
    assert (sizes["pixels"] == 0) == (store.pixel_format == "none")
    no_part = ("inspect", "baselines")
    files = [
        file
        for file in store.path.rglob("*")
        if file.is_file() and file.relative_to(store.path).parts[0] not in no_part
    ]
    assert sum(sizes.values()) == sum(file.stat().st_size for file in files)
    each = (sizes["pixels"] + sizes["latents"]) / 48
    assert line(inspected, "on").endswith(f"{byte_size(each)} a clip")
    assert ("pixels" in line(inspected, "on")) == (store.pixel_format != "none")


def test_it_sums_the_latents_up(inspected: Inspected) -> None:
    variance = inspected.store.teacher.variance
    assert line(inspected, "variance").startswith(f"{variance.min():.3g} to {variance.max():.3g}; ")
    rank = re.match(rf"effective rank (\S+) of {DIM}, of 1,024 held-out tokens", line(inspected, "rank"))
    assert rank and 1 <= float(rank[1]) <= DIM


def test_it_tells_the_baselines_of_the_default_evaluation(inspected: Inspected) -> None:
    baselines = baseline_losses(inspected.store, EvaluationConfig())
    for name, loss in baselines.to_dict().items():
        r2 = 1 - loss / baselines.training_mean
        assert re.search(rf"{BASELINE_NAMES[name]} +{loss:.4f} +{r2:.3f}\n", inspected.output)


def test_its_pictures_open_and_are_named(inspected: Inspected) -> None:
    folder = inspected.store.path / "inspect"
    assert {file.name for file in folder.iterdir()} == {"latents.png", "contact-sheet.png"}
    for file in folder.iterdir():
        assert f"Wrote {file}" in inspected.output
        with Image.open(file) as picture:
            picture.load()
            assert picture.format == "PNG" and min(picture.size) > 300


@pytest.mark.slow  # sheets of one view and of three are drawn above
def test_the_contact_sheet_has_room_for_further_views(videos: Path, tmp_path: Path) -> None:
    heights = {}
    for views in (1, 3):
        path = build_store(tmp_path / str(views), videos, views=views).path
        inspect_store(path)
        with Image.open(path / "inspect" / "contact-sheet.png") as picture:
            heights[views] = picture.height
    assert heights[3] > heights[1] + 150


def test_the_teachers_curve_is_drawn_where_there_is_one(
    made: ClipStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(made.path, tmp_path / "store")
    curve = [{"epoch": float(epoch), "val_loss": 1 / epoch, "val_r2": 1 - 1 / epoch} for epoch in (1, 2, 3)]
    (path / "teacher").mkdir()
    (path / "teacher" / "reports.jsonl").write_text("".join(json.dumps(report) + "\n" for report in curve))
    inspect_store(path)
    assert f"Wrote {path / 'inspect' / 'teacher.png'}" in capsys.readouterr().out
    with Image.open(path / "inspect" / "teacher.png") as picture:
        picture.load()


def test_the_same_latents_are_sampled_every_time(made: ClipStore) -> None:
    first, again = sample_latents(made), sample_latents(ClipStore.open(made.path))
    assert first.shape == (16 * 64, DIM)
    assert (first == again).all()


def test_shown_clips_are_of_as_many_classes_as_there_are(made: ClipStore) -> None:
    for count in (1, 4, 8, 20):
        chosen = spread_over_classes(made.train, count)
        assert len(set(chosen)) == count
        assert len(set(made.train.labels[chosen])) == min(count, 8)
    assert len(spread_over_classes(made.train, 99)) == len(made.train)


def test_classes_and_clips_of_any_name_are_shown(
    made: ClipStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(made.path, tmp_path / "a\nstore")
    manifest = json.loads((path / "manifest.json").read_text())
    names = [r"$\frac$", "$", "^_", "走る", "tab\there", "\x1b[2J", "l" * 500, "gpj.\u202etrap"]
    manifest["labels"] = names
    manifest["skipped"] = [{"id": "\x1b]0;owned\x07", "split": "train", "reason": "x\ny"}]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inspect_store(path)
    output = capsys.readouterr().out
    assert [printable(said) for said in output.split("\n")] == output.split("\n")
    assert max(map(len, output.splitlines())) < 400
    assert r"\x1b]0;owned\x07 (x\ny)" in output and rf"{tmp_path}/a\nstore" in output
    with Image.open(path / "inspect" / "contact-sheet.png") as picture:
        picture.load()


def test_skipped_clips_are_named(made: ClipStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shutil.copytree(made.path, tmp_path / "store")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["skipped"] = [{"id": f"c{number}", "split": "train", "reason": "no frames"} for number in range(12)]
    (path / "manifest.json").write_text(json.dumps(manifest))
    inspect_store(path)
    said = next(text for text in capsys.readouterr().out.splitlines() if text.startswith("  skipped"))
    assert "12: c0 (no frames); c1 (no frames)" in said and said.endswith("and 2 more, all in manifest.json")


def test_a_store_that_is_none_or_cannot_be_written_is_refused(made: ClipStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such clip store"):
        inspect_store(tmp_path / "absent")
    path = shutil.copytree(made.path, tmp_path / "store", ignore=shutil.ignore_patterns("inspect"))
    (path / "inspect").write_text("in the way")
    with pytest.raises(OSError, match="exists") as caught:
        inspect_store(path)
    assert Path(caught.value.filename) == path / "inspect"


def test_ray_is_not_loaded() -> None:
    program = "import sys, salt_tune.stores.inspect; print(*{'ray', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""The groups of clips: by a pattern, by a column, and one clear line for what leaves a clip without one."""

import json
from pathlib import Path

import pytest

from tests.trainable.data.video.test_video_dataset import put, put_ssv2
from trainable.data.video.grouping import Grouping
from trainable.data.video.video_dataset import Source, find_source
from trainable.errors import UserError

UCF = r"(v_\w+_g\d+)_c\d+"


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """UCF101's names: 2 classes of 10 groups of 4 clips."""
    names = (f"{c}/v_{c}_g{g:02}_c{n:02}.avi" for c in ("Archery", "Biking") for g in range(10) for n in range(4))
    return put(tmp_path / "ucf", *names)


def torn(source: Source) -> set[str | None]:
    sides: dict[str | None, set[str]] = {}
    for clip in source.clips:
        sides.setdefault(clip.group, set()).add(clip.split)
    return {group for group, both in sides.items() if len(both) > 1}


def test_a_pattern_keeps_groups_whole(ucf: Path) -> None:
    plain, source = find_source(ucf), find_source(ucf, grouping=Grouping(UCF), val_fraction=0.2)
    assert {clip.group for clip in plain.clips} == {None} and plain.group_by is None
    assert source.group_by == {"pattern": UCF}
    assert {clip.group for clip in source.clips} == {f"v_{c}_g{g:02}" for c in ("Archery", "Biking") for g in range(10)}
    assert torn(source) == set()
    assert sum(clip.split == "val" for clip in source.clips) == 16
    assert find_source(ucf, grouping=Grouping(UCF), val_fraction=0.2) == source
    assert find_source(ucf, grouping=Grouping(UCF), val_fraction=0.2, seed=1) != source


def test_a_pattern_without_a_group_names_it_by_all_that_it_matches(ucf: Path) -> None:
    source = find_source(ucf, grouping=Grouping(r"g\d+"))
    assert {clip.group for clip in source.clips} == {f"g{g:02}" for g in range(10)}
    assert torn(source) == set()


@pytest.mark.parametrize("key", ["id", "video", "clip"])
@pytest.mark.parametrize("suffix", [".avi", ""])
@pytest.mark.parametrize("kind", ["csv", "CSV", "json"])
def test_a_column_of_a_table_names_the_groups(ucf: Path, key: str, suffix: str, kind: str) -> None:
    clips = find_source(ucf).clips
    rows = [{key: clip.id + suffix, "subject": number % 7, "note": 'a, "b"'} for number, clip in enumerate(clips)]
    file = ucf.parent / f"my: groups.{kind}"
    if kind == "json":
        file.write_text(json.dumps([*rows, {key: "gone", "subject": "x"}]))
    else:
        lines = [f'{row[key]},{row["subject"]},"a, ""b"""' for row in rows]
        file.write_text("\r\n".join([f"{key}, subject,note", *lines]), encoding="utf-8-sig")
    source = find_source(ucf, grouping=Grouping(f"{file}:subject"))
    assert source.group_by == {"column": "subject"}
    assert [clip.group for clip in source.clips] == [str(number % 7) for number in range(len(clips))]
    assert torn(source) == set()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("(", ["--group-by = '(': is no regular expression: missing )"]),
        ("Sailing", ["matches none of the 80 clips; the first is 'Archery/v_Archery_g00_c00'"]),
        ("Archery", ["matches 40 of the 80 clips", "the first of the other 40 is 'Biking/v_Biking_g00_c00'"]),
        ("v_(x)?", ["matches none of the 80 clips"]),
        ("(v)_", ["puts all 80 clips into one group, 'v'"]),
        ("none.csv:subject", ["none.csv: there is no such file", "--group-by takes FILE.csv:COLUMN"]),
        ("t.csv:subjct", ["t.csv has no column 'subjct'; did you mean 'subject'?"]),
        ("t.csv:id", ["'id' is the column that names the clips"]),
        ("t.csv:subject", ["names a group of 1 of the 80 clips", "the other 79 is 'Archery/v_Archery_g00_c01'"]),
        ("twice.csv:subject", ["twice.csv: row 2: id = 'a': stands before with subject = 'x', here with 'y'"]),
        ("broken.json:subject", ["broken.json: is no readable table"]),
        ("object.json:subject", ["object.json: must hold a row a clip"]),
        ("float.json:subject", ["float.json: row 1: subject = 1.5: must be a text or a whole number"]),
        ("half.json:subject", ["half.json: row 1: subject = '\\ud800': is no valid text"]),
        ("empty.csv:subject", ["empty.csv: must hold a row a clip"]),
        ("latin.csv:subject", ["latin.csv: is no readable table"]),
    ],
)
def test_what_leaves_clips_without_a_group_is_named(
    ucf: Path, monkeypatch: pytest.MonkeyPatch, spec: str, told: list[str]
) -> None:
    monkeypatch.chdir(ucf.parent)
    Path("t.csv").write_text("id,subject\nArchery/v_Archery_g00_c00,x\nArchery/v_Archery_g00_c01,\n")
    Path("twice.csv").write_text("id,subject\na,x\na,y\n")
    Path("broken.json").write_text("[{")
    Path("object.json").write_text('{"a": "x"}')
    Path("float.json").write_text('[{"id": "a", "subject": 1.5}]')
    Path("half.json").write_text('[{"id": "a", "subject": "\\ud800"}]')
    Path("empty.csv").write_text("")
    Path("latin.csv").write_bytes(b"id,subject\na,\xe9\n")
    with pytest.raises(UserError) as caught:
        find_source(ucf, grouping=Grouping(spec))
    for part in told:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_that_is_given_is_not_grouped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has a split of its own, which is kept as it is; leave it out"):
        find_source(put_ssv2(tmp_path), grouping=Grouping(r"\d"))

"""The journal: lines in order, a last one that was cut off, a damaged one."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import RunError
from analysis.run_directory.lines import read_lines
from salt_tune.runs.journal import Journal
from trainable.errors import UserError

ENTRIES: list[dict[str, Any]] = [
    {"event": "start", "trial": "T0", "parameters": {"lr": 1e-3, "loss": "smooth_l1"}},
    {"event": "end", "trial": "T0", "error": "two\nlines, a \u2028 separator and Tübingen"},
    {"event": "result", "score": None, "resource": 1 / 3},
]


def journal(folder: Path, entries: int = 3) -> Journal:
    made = Journal(folder / "decisions.jsonl")
    for entry in ENTRIES[:entries]:
        made.append(entry)
    return made


def test_what_was_appended_is_read_in_order_by_another(tmp_path: Path) -> None:
    assert read_lines(journal(tmp_path).path) == ENTRIES


def test_no_file_is_no_entries(tmp_path: Path) -> None:
    empty = Journal(tmp_path / "decisions.jsonl")
    assert read_lines(empty.path) == []
    assert not empty.path.exists()


def test_each_entry_is_one_line_of_json(tmp_path: Path) -> None:
    lines = journal(tmp_path).path.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == ENTRIES
    assert lines[-1] == b""


def test_a_last_line_that_was_cut_off_anywhere_is_taken_away(tmp_path: Path) -> None:
    cut = journal(tmp_path)
    whole = cut.path.read_bytes()
    for size in range(0, len(whole), 3):
        cut.path.write_bytes(whole[:size])
        complete = whole[:size].count(b"\n")
        assert read_lines(cut.path) == ENTRIES[:complete]
        cut.append({"event": "next"})
        assert read_lines(cut.path) == [*ENTRIES[:complete], {"event": "next"}]


@pytest.mark.parametrize("damage", [b"{\n", b"\n", b"\xff\xfe{}\n", b'{"event": "start"\n', bytes(20) + b"\n"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    damaged = journal(tmp_path, 2)
    damaged.path.write_bytes(damaged.path.read_bytes() + damage)
    damaged.append(ENTRIES[2])
    with pytest.raises(RunError) as caught:
        read_lines(damaged.path)
    assert str(caught.value).startswith(f"{damaged.path}: line 3 is damaged: ")
    assert "\n" not in str(caught.value)


def test_a_line_that_is_no_object_is_damaged_too(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"event": "start"}\n17\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        read_lines(path)


def test_what_is_not_json_is_no_entry(tmp_path: Path) -> None:
    made = journal(tmp_path, 1)
    with pytest.raises(ValueError, match="JSON"):
        made.append({"score": float("nan")})
    assert read_lines(made.path) == ENTRIES[:1]


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decisions\.jsonl: No such file") as caught:
        Journal(tmp_path / "gone" / "decisions.jsonl").append({"event": "start"})
    assert "\n" not in str(caught.value)

"""Flags that several commands share: what they refuse, and commands to be typed again."""

import os
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt_tune.options import Finite, Folder, Named, shell_command
from trainable.registry import MASKINGS

NOT_UTF8 = os.fsdecode(b"r/k\xfcche")


@pytest.mark.parametrize("path", ["runs", "/data/a b", "r/küche", "r/'{}$(x)", "../x"])
def test_folders_are_paths_there_or_not(path: str) -> None:
    assert Folder().convert(path, None, None) == Path(path)


def test_a_folder_that_is_not_utf8_is_named_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(click.BadParameter) as refused:
        Folder().convert(NOT_UTF8, None, None)
    assert r"r/k\xfcche: is not UTF-8" in refused.value.message
    (tmp_path / NOT_UTF8).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / NOT_UTF8)
    with pytest.raises(click.BadParameter, match=r"k\\xfcche/runs: is not UTF-8"):
        Folder().convert("runs", None, None)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "1e999"])
def test_numbers_are_finite(value: str) -> None:
    for number in (Finite(), Finite(min=0), Finite(min=0, min_open=True)):
        with pytest.raises(click.BadParameter) as refused:
            number.convert(value, None, None)
        assert "\n" not in refused.value.message


def test_finite_numbers_are_numbers_in_their_range() -> None:
    assert Finite(min=0).convert("0.5", None, None) == 0.5
    with pytest.raises(click.BadParameter, match="not in the range"):
        Finite(min=0).convert("-1", None, None)


def test_names_are_those_of_a_registry() -> None:
    assert Named(MASKINGS).convert("tube", None, None) == "tube"
    with pytest.raises(click.BadParameter, match=r"^'tubes': did you mean 'tube'\?$"):
        Named(MASKINGS).convert("tubes", None, None)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)))
def test_a_shell_reads_a_printed_command_as_it_was_meant(words: list[str]) -> None:
    assert shlex.split(shell_command("salt_tune.search", *words)) == ["python", "-m", "salt_tune.search", *words]


def test_a_real_shell_does_too() -> None:
    run = Path("/runs/it's $HOME `x`")
    command = shell_command("salt_tune.search", "--resume", run)
    script = f"python() {{ printf '%s\\n' \"$@\"; }}; {command}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "salt_tune.search", "--resume", str(run)]
    assert shell_command("salt_tune.promote", "/runs/plain") == "python -m salt_tune.promote /runs/plain"

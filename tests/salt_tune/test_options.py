"""Flags that several commands share: what they refuse."""

import os
from pathlib import Path

import click
import pytest

from salt_tune.options import CountOrAuto, Finite, Folder, Named, parse_settings
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
    with pytest.raises(click.BadParameter, match=r"^'tubes' is unknown; did you mean 'tube'\?$"):
        Named(MASKINGS).convert("tubes", None, None)


def test_trials_at_a_time_are_a_number_or_auto() -> None:
    assert CountOrAuto("trials", 1).convert("auto", None, None) == "auto"
    assert CountOrAuto("trials", 1).convert("3", None, None) == 3
    for wrong in ("0", "atuo"):
        with pytest.raises(click.BadParameter, match=f"'{wrong}': must be a number of trials, at least 1, or auto"):
            CountOrAuto("trials", 1).convert(wrong, None, None)


def test_further_seeds_are_a_number_or_auto() -> None:
    assert [CountOrAuto("seeds", 0).convert(given, None, None) for given in ("auto", "0")] == ["auto", 0]
    with pytest.raises(click.BadParameter, match="'-1': must be a number of seeds, at least 0, or auto"):
        CountOrAuto("seeds", 0).convert("-1", None, None)


def test_settings_are_read_as_in_a_space_file() -> None:
    found = parse_settings(("batch_size=16", "parameters.lr.low=1e-5", "start_from=[]", "student=a=b"))
    assert found == {"batch_size": 16, "parameters.lr.low": 1e-5, "start_from": [], "student": "a=b"}
    for wrong in ("batch_size", "=3"):
        with pytest.raises(click.UsageError, match="must be KEY=VALUE"):
            parse_settings((wrong,))

"""Text that commands print: numbers, bytes, durations, and commands to be typed again."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt_tune.ui.format import amount, byte_size, counted, duration, exact, heading, number, shell_command


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.00012345, "0.000123"), (0.5, "0.5"), (999.4, "999"), (1234.5, "1,234"), (-20000.0, "-20,000"),
        (1e30, "1e+30"), (float("nan"), "nan"), (float("inf"), "inf"), (12345, "12345"), (True, "True"),
        ("tube", "tube"),
    ],
)  # fmt: skip
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


def test_digits_of_a_number_can_be_more() -> None:
    assert number(1 / 3, digits=4) == "0.3333"
    assert number(12345.6, digits=4) == "12,346"


def test_losses_have_four_decimals() -> None:
    assert [exact(value) for value in (None, 0.5, 1 / 3)] == ["-", "0.5000", "0.3333"]


def test_amounts_have_their_unit() -> None:
    assert [amount(value, "epoch") for value in (0.5, 1.0, 1 / 3)] == ["0.5 epochs", "1 epoch", "0.3333 epochs"]
    assert (amount(12345.6, "tflop"), amount(90.0, "second")) == ("12,346 TFLOP", "90 seconds")
    assert [counted(count, "trial") for count in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (999.7, "1 kB"), (1e3, "1 kB"), (24_512, "24.5 kB"), (786e3, "786 kB"),
        (999.6e6, "1 GB"), (3e9, "3 GB"), (1.5e12, "1.5 TB"), (1e15, "1,000 TB"),
    ],
)  # fmt: skip
def test_bytes(count: float, text: str) -> None:
    assert byte_size(count) == text


@given(st.floats(0, 1e18))
def test_bytes_are_right_to_three_digits(count: float) -> None:
    words, unit = byte_size(count).split()
    size = float(words.replace(",", "")) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert size == pytest.approx(count, rel=0.0051)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 40, 99.4, 720, 5399, 12_600)] == [
        "0 s", "40 s", "99 s", "12 min", "90 min", "3.5 h",
    ]  # fmt: skip


def test_headings_are_short_lines() -> None:
    assert heading("predictor_depth").plain == "predictor\ndepth"
    assert heading("0.8 val_loss - 0.2 probe_top1").plain == "0.8 val_loss\n- 0.2 probe_top1"


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

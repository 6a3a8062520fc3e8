"""The reports of trials as lines."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from analysis.run_directory.reports import natural, plain_report


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_natural_order_is_that_of_the_numbers(a: int, b: int) -> None:
    assert (natural(f"T{a}") < natural(f"T{b}")) == (a < b)


def test_a_report_is_a_line_without_numbers_that_are_not_finite() -> None:
    report = {"epoch": 1.0, "val_loss": math.nan, "train_loss": math.inf, "status": "running", "step": 3}
    line = json.dumps(plain_report("T0", report), allow_nan=False)
    assert json.loads(line) == {
        "trial": "T0", "epoch": 1.0, "val_loss": None, "train_loss": None, "status": "running", "step": 3,
    }  # fmt: skip

"""The analysis runs on a laptop without Ray or torch."""

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import sys
import analysis, analysis.charts, analysis.plots.store
print(*sorted({"ray", "torch", "salt_tune.search", "trainable"} & set(sys.modules)))
"""


def test_neither_ray_nor_torch_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

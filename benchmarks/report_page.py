"""`python -m benchmarks.report_page`: how large a run's page is, how long it takes to write and to draw.

The searches have 10, 100 and 1,000 trials with made scores and two workers. Each trial has three reports and 400
windows of steps. "To write" is in CPU seconds of a process that has loaded its libraries. The first page of a process
takes "script" more. "First chart" and "all charts" are seconds after Chromium was told to open the page. `axe` counts
the violations that axe-core finds. They are left out without Chromium. Import times are the best of five, beside that
of pandas.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from analysis import load
from benchmarks import machine
from salt_tune.report.page.figures import script
from salt_tune.report.page.page import write_page
from salt_tune.write_report import sources
from tests.analysis.fake_steps import write_steps
from tests.analysis.made_search import spread, write_search

TRIALS = (10, 100, 1000)
IMPORTS = ("pandas", "analysis.tables.runs", "analysis.charts")
DRAWN = "document.documentElement.dataset.drawn"


def main() -> None:
    """Writes and opens the pages, and saves the figures."""
    chromium = shutil.which("chromium")
    started = time.process_time()
    script()
    figures: dict[str, Any] = {"script seconds": round(time.process_time() - started, 2), "pages": {}}
    with tempfile.TemporaryDirectory() as folder:
        for count in TRIALS:
            directory = write_search(Path(folder) / f"run-{count}", spread(count), lambda values: values["lr"])
            write_steps(directory, [f"T{number}" for number in range(count)])
            run = load(directory.path)
            page, started = Path(folder) / f"{count}.html", time.process_time()
            size = write_page({"run": run}, page, sources())
            row = {"megabytes": round(size / 1e6, 2), "seconds to write": round(time.process_time() - started, 2)}
            figures["pages"][count] = row | (_opened(chromium, page) if chromium else {})
            print(count, figures["pages"][count], flush=True)
    figures["import seconds"] = {name: _import_seconds(name) for name in IMPORTS}
    machine.write("report-page", figures)


def _opened(chromium: str, page: Path) -> dict[str, Any]:
    """Opens a page, and says how long that took and what axe-core finds."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab, started = browser.new_page(), time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector(".chart svg", timeout=120_000)
        first = time.perf_counter() - started
        tab.wait_for_function(DRAWN, timeout=120_000)
        drawn = time.perf_counter() - started
        violations = Axe().run(tab).response["violations"]
        browser.close()
    return {
        "seconds to first chart": round(first, 2),
        "seconds to all charts": round(drawn, 2),
        "axe": {impact: sum(each["impact"] == impact for each in violations) for impact in ("critical", "serious")}
        | {"all": len(violations)},
    }


def _import_seconds(module: str) -> float:
    """Returns the CPU seconds that importing a module takes in a new process."""
    program = f"import time; began = time.process_time(); import {module}; print(time.process_time() - began)"
    taken = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
             for _ in range(5)]  # fmt: skip
    return round(min(map(float, taken)), 2)


if __name__ == "__main__":
    main()

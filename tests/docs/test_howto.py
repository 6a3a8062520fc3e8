"""The how-to pages: the file that a page tells to write, and the line that registers it, do what the page says."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, complaints
from tests.contracts.packages import install

FOLDER = ROOT / "docs" / "howto"
LINK = re.compile(r"\]\(([a-z-]+\.md)\)")
FILE = re.compile(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^The line in .*?:\n\n```python\n(\"(\w+)\": (.*?),)\n```$", re.MULTILINE | re.DOTALL)
GROUP = re.compile(r"entry point of the group `([\w.]+)`")
CHECK = re.compile(r"`pytest (tests/contracts/\w+\.py -k \w+)`")
ADDING = ("scheduler", "searcher", "metric", "masking-strategy", "teacher")


@dataclass(frozen=True)
class Page:
    """What a page tells to write."""

    path: str
    source: str
    line: str
    name: str
    target: str
    group: str
    check: str


def read(kind: str) -> Page:
    text = (FOLDER / f"add-a-{kind}.md").read_text()
    ((path, source),) = FILE.findall(text)
    ((line, name, target),) = LINE.findall(text)
    return Page(path, source, line, name, target, GROUP.findall(text)[0], CHECK.findall(text)[0])


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where the package in `folder` is installed."""
    search_path = os.pathsep.join(filter(None, [str(folder), str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**environment, "PYTHONPATH": search_path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the contract tests say where the files of all pages are installed, a package each."""
    folder, files, names = tmp_path_factory.mktemp("added"), [], []
    for kind in ADDING:
        page = read(kind)
        module = f"added_{page.name}"
        place = page.path.removesuffix(".py").replace("/", ".")
        assert f'"{place}:' in page.target
        source, target = page.source, page.target.strip('"').replace(place, module)
        if kind == "metric":  # its line is more than a name
            metric = page.target.replace(place, module)
            source += f"\n\nfrom trainable.metrics import Metric\n\nMETRIC = {metric}\n"
            target = f"{module}:METRIC"
        install(folder, module, page.group, {page.name: target}, source)
        file, _, name = page.check.split()
        files.append(file)
        names.append(name)
    chosen = ("-k", " or ".join(names))
    done = run(folder, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rA", *files, *chosen)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", ADDING)
def test_what_the_page_adds_keeps_the_contract_of_its_kind(kind: str, checked: str) -> None:
    """The file stands in a package of its own here; the module that the line names is that of the page."""
    file, _, name = read(kind).check.split()
    assert re.search(rf"^PASSED {file}::.*{name}", checked, re.MULTILINE)


def test_the_files_are_as_clean_as_ours(tmp_path: Path) -> None:
    for kind in ADDING:
        page = read(kind)
        (tmp_path / Path(page.path).name).write_text(page.source)
    config = str(ROOT / "pyproject.toml")
    # What a teacher overrides has fixed arguments.
    for words in (
        ("check", "--extend-per-file-ignores", f"{Path(read('teacher').path).name}:ARG003"),
        ("format", "--check"),
    ):
        done = run(tmp_path, "-m", "ruff", *words, "--config", config, str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_read_in_pandas(finished_run: Path, tmp_path: Path) -> None:
    ((name, source),) = FILE.findall((FOLDER / "read-a-run-in-pandas.md").read_text())
    (tmp_path / name).write_text(source)
    done = run(tmp_path, str(tmp_path / name), str(finished_run))
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert re.search(r"^T\d is lower than T\d on \d+% of the held-out clips$", done.stdout, re.MULTILINE)


def test_every_page_is_in_the_list() -> None:
    assert set(LINK.findall((FOLDER / "index.md").read_text())) == {
        page.name for page in FOLDER.glob("*.md") if page.name != "index.md"
    }

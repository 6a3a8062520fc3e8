"""The model card is Markdown that says what it means, whatever runs, stores and folders are called."""

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from analysis.run_directory.paths import FinalDirectory
from analysis.text import printable
from salt_tune.report.model_card import code, write_card
from tests.salt_tune.made_trials import BASELINES, final_spec
from tests.small_store import build_store
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.task import find_task

NAMES = [
    "plain",
    "a`b``c",
    "x|y",
    "`",
    "a\n# b",
    "\x1b[2J",
    "```\nend",
    'quo"te',
    "back\\slash",
    "<b>&amp;",
    "*_[x](y)",
]


def tokens_of(text: str) -> list[Token]:
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    return [token for block in blocks for token in (block, *(block.children or ()))]


@given(st.text(min_size=1))
def test_code_is_one_span_of_the_text(text: str) -> None:
    spans = [token for token in tokens_of(f"x {code(text)} y") if token.type == "code_inline"]
    shown = printable(text)
    assert [span.content for span in spans] == [shown] or not shown.strip(" ")


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_store(tmp_path_factory.mktemp("stores") / "store", videos).path


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_leave_the_card_whole(name: str, made: Path, tmp_path: Path) -> None:
    store = ClipStore.open(shutil.copytree(made, tmp_path / name / "store"))
    final = FinalDirectory(tmp_path / name / "T0-2epochs")
    final.path.mkdir()
    measures: dict[str, Any] = {"val_loss": 0.5, "val_r2": 0.2, "probe_top1": None, "effective_rank": 3.0}
    last = {**measures, "student_parameters": 1000}
    spec = final_spec(final, SMALL.replace(student=name), run=name)
    write_card(find_task("salt"), spec, {"id": "T0", "epochs": 2, **measures}, last, StoreDataset(store), BASELINES)
    text = final.card.read_text(encoding="utf-8")
    assert [printable(line) for line in text.split("\n")] == text.split("\n")
    tokens = tokens_of(text)
    spans = [token.content for token in tokens if token.type == "code_inline"]
    assert spans.count(printable(name)) == 4, "student, twice, and run, twice"
    assert printable(str(store.path)) in spans
    assert sum(token.type == "heading_open" for token in tokens) == 3
    assert sum(token.type == "table_open" for token in tokens) == 3
    (program,) = [token.content for token in tokens if token.type == "fence"]
    (call,) = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]
    assert call.value == str(final.path)

"""The model card is Markdown that says what it means, whatever runs, stores and folders are called."""

import ast
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results
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


def write(name: str, made: Path, folder: Path, **measures: Any) -> tuple[dict[str, Any], str, Path]:
    """Writes a card where run, student, store and videos have a name; returns its head, the rest, and the folder."""
    store = ClipStore.open(shutil.copytree(made, folder / name / name))
    store.manifest["videos"] = str(folder / "videos" / name)
    final = FinalDirectory(folder / name / "T0-2epochs")
    final.path.mkdir()
    last = {"val_loss": 0.5, "val_r2": 0.2, "probe_top1": None, "effective_rank": 3.0, **measures}
    spec = final_spec(final, SMALL.replace(student=name), run=name)
    report = {**last, "student_parameters": 1000}
    write_card(find_task("salt"), spec, {"id": "T0", "epochs": 2, **last}, report, StoreDataset(store), BASELINES)
    text = final.card.read_text(encoding="utf-8")
    assert [printable(line) for line in text.split("\n")] == text.split("\n")
    empty, head, card = text.split("---\n", 2)
    assert not empty
    return yaml.safe_load(head), card, final.path


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_leave_the_card_whole(name: str, made: Path, tmp_path: Path) -> None:
    _, text, folder = write(name, made, tmp_path)
    tokens = tokens_of(text)
    spans = [token.content for token in tokens if token.type == "code_inline"]
    assert spans.count(printable(name)) == 5, "student, twice, run, twice, and store"
    assert str(tmp_path) not in text
    assert sum(token.type == "heading_open" for token in tokens) == 3
    assert sum(token.type == "table_open" for token in tokens) == 3
    programs = [ast.parse(token.content) for token in tokens if token.type == "fence"]
    assert len(programs) == 2
    for program in programs:
        assert folder.name in {node.value for node in ast.walk(program) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", [*NAMES, "---", "a: b", "null", "'", "!!python x", "&a *a", "long " * 40])
def test_the_hub_reads_its_head(name: str, made: Path, tmp_path: Path) -> None:
    head, _, folder = write(name, made, tmp_path, val_r2=math.nan)
    assert (head["library_name"], head["pipeline_tag"]) == ("transformers", "feature-extraction")
    assert "license" not in head and "license: name yours" in (folder / "README.md").read_text().splitlines()[1]
    (index,) = head["model-index"]
    assert index["name"] == printable(f"{name}-T0-2epochs")
    (result,) = index["results"]
    assert result["dataset"] == {"type": printable(name), "name": printable(name)}
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics["val_loss"] == 0.5 and not metrics.keys() & {"val_r2", "probe_top1"}
    assert head.get("datasets", [name]) == [name] and ("datasets" in head) == (name in ("plain", "null"))
    (evaluation, *_), whole = model_index_to_eval_results(head["model-index"])[1], head["model-index"]
    assert evaluation.dataset_name == printable(name) and len(whole) == 1

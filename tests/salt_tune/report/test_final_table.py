"""The table of a promoted model, on the console and on its card, and its verdict in a sentence."""

from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from salt_tune.report import final_table
from salt_tune.report.final_table import final_section, print_final_table
from salt_tune.ui.console import PlainConsole
from trainable.metrics import METRICS


def row(value: float) -> dict[str, Any]:
    names = ("val_loss", "attentive_top1", "probe_top1", "order_top1", "lidar")
    fields = dict.fromkeys(names, value)
    ends = {f"{name}_{end}": value + by for name in names[:4] for end, by in (("low", -0.05), ("high", 0.05))}
    return {**fields, **ends}


def made(**verdict: Any) -> dict[str, Any]:
    def shown(mean: float) -> dict[str, Any]:
        return {"metrics": ["attentive_top1"], "mean": mean, "low": mean - 0.05, "high": mean + 0.05}

    return {
        "columns": ["val_loss", "attentive_top1", "probe_top1", "order_top1", "lidar"],
        "rows": {"model": row(0.5), "trial": row(0.4), "untrained": row(0.3), "chance": {"attentive_top1": 0.125}},
        "left_out": {"speed_top1": "clips have one time slot", "retrieval_top1": "clips have one time slot"},
        "notes": {},
        "against": None,
        "differences": {"untrained": {"probe_top1": {"mean": 0.2, "low": 0.15, "high": 0.25}}, "trial": {}},
        "verdict": {name: each if each is None else shown(each) for name, each in verdict.items()},
    }


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    wide = PlainConsole(width=200, record=True)
    monkeypatch.setattr(final_table, "console", wide)
    return wide


def printed(console: Console, evaluation: dict[str, Any]) -> list[str]:
    print_final_table(evaluation, METRICS)
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_it_says_what_it_is_then_the_table_then_the_verdict(console: Console) -> None:
    lines = printed(console, made(untrained=0.1, trial=0.01))
    assert lines[0].startswith("How good the encoder is")
    starts = [line.split("  ")[0] for line in lines if line[0] != " "]
    assert starts[1:5] == ["this model", "the search's trial", "untrained", "chance"]
    (model,) = (line for line in lines if line.startswith("this model"))
    assert model.split() == ["this", "model", "0.500", "0.500", "0.500", "0.500", "0.5"]
    assert lines[lines.index(model) + 1].split() == ["[0.45,", "0.55]"] * 4
    assert lines[-3] == "Without speed_top1, retrieval_top1: clips have one time slot"
    assert lines[-1] == "As the search judges, it is better than untrained by 0.200 [0.150, 0.250] in probe_top1"
    assert lines[-2] == (
        "This model is better than untrained by 0.100 [0.050, 0.150] in attentive_top1; "
        "not shown to be better than the search's trial: 0.010 [-0.040, 0.060] in attentive_top1"
    )


def test_worse_and_not_compared_are_said(console: Console) -> None:
    lines = printed(console, made(untrained=-0.1, against=None))
    assert lines[-2] == (
        "This model is worse than untrained by 0.100 [0.050, 0.150] in attentive_top1; "
        "not compared with --against, as no accuracy of both was measured"
    )


def test_a_narrow_terminal_has_the_columns_that_say_most(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = PlainConsole(width=60, record=True)
    monkeypatch.setattr(final_table, "console", narrow)
    lines = printed(narrow, made(untrained=0.1))
    assert max(map(len, lines[: lines.index("(too narrow for order_top1, lidar)")])) <= 72
    assert "attentive" in " ".join(lines)


def test_the_card_has_a_table_of_markdown(console: Console) -> None:
    text = final_section(made(untrained=0.1, trial=0.01))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    assert sum(token.type == "tr_open" for token in tokens) == 5
    assert "| this model | 0.500 [0.45, 0.55] |" in text
    assert "better than untrained by 0.100 [0.050, 0.150]" in text

"""Every mistake in a search-space file gets one line with file, field, value and what is right."""

from pathlib import Path

import pytest

from salt_tune.space.search_space import SpaceError
from salt_tune.space.space_file import load_space
from tests.salt_tune.space_files import Edit, content, put, write

MISTAKES: dict[str, tuple[Edit, list[str]]] = {
    "misspelt entry": (put("shedule", {}), ["shedule", "did you mean 'schedule'"]),
    "misspelt hyperparameter": (
        put("parameters.learning_rat", {"type": "uniform", "low": 0, "high": 1}),
        ["parameters.learning_rat", "known are", "lr"],
    ),
    "misspelt hyperparameter, close": (
        put("parameters.mask_ratoi", {"type": "uniform", "low": 0.1, "high": 0.2}),
        ["did you mean 'mask_ratio'"],
    ),
    "misspelt fixed": (put("fixed.batchsize", 8), ["fixed.batchsize", "did you mean 'batch_size'"]),
    "misspelt in start_from": (
        put("start_from", [{"lr": 1e-3}, {"lrr": 1e-3}]),
        ["start_from[1].lrr", "did you mean 'lr'"],
    ),
    "misspelt type": (
        put("parameters.lr.type", "loguniform"),
        ["parameters.lr", "type = 'loguniform'", "uniform, log_uniform, int or choice"],
    ),
    "no type": (put("parameters.lr", {"low": 1, "high": 2}), ["parameters.lr", "type", "log_uniform"]),
    "not a mapping for a parameter": (put("parameters.lr", 3e-4), ["parameters.lr", "0.0003"]),
    "misspelt inner entry": (put("parameters.lr.hihg", 1), ["parameters.lr.hihg", "did you mean 'high'"]),
    "misspelt schedule entry": (
        put("schedule.first_rungs", 1),
        ["schedule.first_rungs", "did you mean 'first_rung'"],
    ),
    "misspelt evaluation entry": (
        put("evaluation.mask_ration", 1),
        ["evaluation.mask_ration", "did you mean 'mask_ratio'"],
    ),
    "a number for the evaluation": (put("evaluation", 3), ["evaluation = 3", "must be a mapping with entries such as"]),
    "misspelt task": (put("task", "slat"), ["task = 'slat'", "did you mean 'salt'?"]),
    "misspelt promotion entry": (put("promotion.epoch", 1), ["promotion.epoch", "did you mean 'epochs'"]),
    "misspelt searcher": (put("searcher", "tpee"), ["searcher = 'tpee'", "did you mean 'tpe'?"]),
    "a searcher like no other": (
        put("searcher", "bohb"),
        ["searcher = 'bohb'", "known are random, grid, sobol, tpe, gp"],
    ),
    "misspelt cost": (put("against", "parameter"), ["against = 'parameter'", "did you mean 'parameters'?"]),
    "misspelt masking": (put("evaluation.masking", "tubes"), ["evaluation.masking = 'tubes'", "did you mean 'tube'?"]),
    "low above high": (put("parameters.lr.high", 1e-5), ["parameters.lr.high = 1e-05", "must be above low = 0.0001"]),
    "int low above high": (
        put("parameters.predictor_depth.low", 9),
        ["parameters.predictor_depth.high = 4", "low = 9"],
    ),
    "log_uniform from 0": (put("parameters.lr.low", 0), ["parameters.lr.low = 0", "above 0"]),
    "log int from 0": (
        put("parameters.predictor_depth", {"type": "int", "low": 0, "high": 4, "log": True}),
        ["log = True", "at least 1"],
    ),
    "step 0": (put("parameters.predictor_depth.step", 0), ["parameters.predictor_depth.step = 0", "1"]),
    "infinite": (put("parameters.lr.high", float("inf")), ["parameters.lr.high = inf", "finite"]),
    "a text for a number": (put("parameters.lr.low", "tiny"), ["parameters.lr.low = 'tiny'", "number"]),
    "empty choice": (
        put("parameters.predictor_dim.values", []),
        ["parameters.predictor_dim.values = []", "at least one"],
    ),
    "twice in a choice": (put("parameters.predictor_dim.values", [64, 64]), ["[64, 64]", "twice"]),
    "width in a choice": (
        put("parameters.predictor_dim.values", [64, 100]),
        ["parameters.predictor_dim = 100", "divisible by 64"],
    ),
    "width by given heads": (
        put("fixed.predictor_num_heads", 3),
        ["parameters.predictor_dim = 64", "predictor_num_heads = 3"],
    ),
    "fixed width": (
        lambda space: {**space, "parameters": {"lr": space["parameters"]["lr"]}, "fixed": {"predictor_dim": 100}},
        ["fixed.predictor_dim = 100", "divisible by 64"],
    ),
    "width in start_from": (
        put("start_from", [{}, {"predictor_dim": 100}]),
        ["start_from[1].predictor_dim = 100", "divisible by 64"],
    ),
    "out of a hyperparameter's range": (
        put("parameters.mask_ratio", {"type": "uniform", "low": 0.5, "high": 1.0}),
        ["parameters.mask_ratio = 1.0", "between 0 and 1"],
    ),
    "min_lr above some lr": (put("fixed.min_lr", 1e-3), ["fixed.min_lr = 0.001", "must not be above lr"]),
    "of the wrong kind": (put("fixed.batch_size", "eight"), ["fixed.batch_size = 'eight'", "whole number"]),
    "no trials": (put("trials", 0), ["trials = 0", "1"]),
    "half a trial": (put("trials", 1.5), ["trials = 1.5", "integer"]),
    "epochs in fixed": (put("fixed.epochs", 5), ["fixed.epochs", "schedule.epochs"]),
    "seed in fixed": (put("fixed.seed", 5), ["fixed.seed", "--seed"]),
    "epochs in start_from": (put("start_from", [{"epochs": 1}]), ["start_from[0].epochs", "schedule.epochs"]),
    "fixed and searched": (put("fixed.lr", 1e-3), ["parameters.lr", "fixed too"]),
    "nothing to draw": (put("parameters", {}), ["trials = 4", "no parameters"]),
    "name for a folder elsewhere": (put("name", "../x"), ["name = '../x'"]),
    "no name": (lambda space: {k: v for k, v in space.items() if k != "name"}, ["name", "missing"]),
    "a list": (lambda _: [1, 2], ["mapping"]),
    "empty": (lambda _: "", ["mapping"]),
    "a number": (lambda _: "3", ["mapping"]),
    "broken": (lambda _: "name: [1, 2\ntrials: 3", ["not YAML"]),
    "parameters as a list": (put("parameters", ["lr"]), ["parameters", "lr"]),
    "parameters empty": (put("parameters", None), ["trials = 4", "no parameters"]),
    "an entry empty": (put("trials", None), ["trials = None", "integer"]),
    "a whole number beyond all": (
        put("parameters.predictor_depth.high", 9223372036854775808),
        ["parameters.predictor_depth.high = 9223372036854775808: must be at most 9007199254740992"],
    ),
    "a fixed number beyond all": (put("fixed.batch_size", 2**63), ["fixed.batch_size", "must be at most 1048576"]),
    "a fixed rate beyond all": (put("fixed.min_lr", 10**90), ["fixed.min_lr = 1e+90", "must not be above lr"]),
    "trials beyond all": (put("trials", 2**63), ["trials = 9223372036854775808: must be at most 1000000"]),
    "a seed beyond all": (
        put("evaluation.seed", 2**63),
        ["evaluation.seed = ", "must be at least 0 and below 2^63"],
    ),
    "reports beyond all": (put("schedule.reports", 2**70), ["schedule.reports", "must be at most 100000"]),
    "infinitely many": (put("parameters.predictor_depth.high", float("inf")), ["predictor_depth.high = inf"]),
    "no number at all": (put("parameters.lr.high", float("nan")), ["parameters.lr.high = nan", "finite"]),
    "a fixed rate that is no number": (put("fixed.min_lr", float("nan")), ["fixed.min_lr = nan", "at least 0"]),
    "true for a number": (put("parameters.lr.high", True), ["parameters.lr.high = True: must be a number"]),
    "true for a whole number": (put("trials", True), ["trials = True: must be a number"]),
    "true for epochs": (put("schedule.epochs", True), ["schedule.epochs = True: must be a number"]),
    "true for a fixed number": (put("fixed.batch_size", True), ["fixed.batch_size = True: must be a whole number"]),
    "a number for a text": (put("name", 3e-4), ["name = 0.0003: must be a text; put it in quotes"]),
    "a long list for a text": (put("name", ["x" * 1000] * 1000), ["name = [", "...]: must be a text"]),
    "start_from as a mapping": (put("start_from", {"lr": 1e-3}), ["start_from"]),
    "a list in fixed": (put("fixed.lr", [1, 2]), ["fixed.lr = [1, 2]"]),
    "number as a hyperparameter": (put("fixed", {3: 4}), ["fixed"]),
}


# As people type them, where a dump of what they mean would hide the mistake.
TYPED: dict[str, tuple[str, list[str]]] = {
    "a parameter twice": (
        "parameters:\n  lr: {type: uniform, low: 0, high: 1}\n  loss: mse\n  lr: {type: uniform, low: 0, high: 1}\n",
        ["space.yaml: parameters.lr stands twice (lines 2 and 4)"],
    ),
    "a section twice": ("schedule: {}\ntrials: 3\nschedule: {epochs: 3}\n", ["schedule stands twice (lines 1 and 3)"]),
    "three times": ("trials: 3\ntrials: 3\n\ntrials: 3\n", ["trials stands 3 times (lines 1, 2 and 4)"]),
    "in one line": ("fixed: {batch_size: 8, batch_size: 16}\n", ["fixed.batch_size stands twice (line 1)"]),
    "in a list": ("start_from:\n- {lr: 1}\n- {lr: 1, lr: 2}\n", ["start_from[1].lr stands twice (line 3)"]),
    "in quotes": ("trials: 3\n'trials': 3\n", ["trials stands twice (lines 1 and 2)"]),
    "minutes": ("name: a\ntrials: 1:30\n", ["trials = '1:30': must be a number"]),
    "yes for a number": ("name: a\ntrials: yes\n", ["trials = 'yes': must be a number"]),
    "a number in quotes": ("name: a\ntrials: '3'\n", ["trials = '3': must be a number"]),
    "thousands": ("name: a\ntrials: 1_000\n", ["trials = '1_000': must be a number"]),
    "a number without end": (f"name: a\ntrials: {'9' * 5000}\n", ["line 2, column 9: a number of 5000 digits"]),
    "two documents": ("name: a\n---\nname: b\n", ["not YAML: line 2, column 1: ", "found another document"]),
    "a tab": ("name:\n\ttrials: 3\n", ["not YAML: line 2, column 1: found character '\\t'"]),
    "a tag": ("name: !!python/name:os.system\n", ["line 1, column 7: could not determine a constructor"]),
    "a tag that lies": ("trials: !!int three\n", ["line 1, column 9: 'three' is no int"]),
    "too deep": (f"name: {'[' * 5000}", ["nested too deeply"]),
    "an alias of itself": ("name: &x [*x]\n", ["[...]", "must be a text"]),
}


@pytest.mark.parametrize(("text", "words"), TYPED.values(), ids=TYPED.keys())
def test_what_was_typed_wrong_is_told_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), {})
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 400
    for word in words:
        assert word in message


@pytest.mark.parametrize(("edit", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(tmp_path: Path, edit: Edit, words: list[str]) -> None:
    path = write(tmp_path, edit(content()))
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), {})
    message = " ".join(str(caught.value).split())
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message
    assert "pydantic" not in message


def test_a_file_that_is_not_there_gets_the_names_that_are() -> None:
    with pytest.raises(SpaceError, match="vit_bas: no such search-space file; did you mean 'vit_base'"):
        load_space("vit_bas", {})
    with pytest.raises(SpaceError, match=r"no/such\.yaml"):
        load_space("no/such.yaml", {})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpaceError, match="not YAML"):
        load_space(str(path), {})

"""A configuration is right, or it says in one sentence which field is wrong and what would be right."""

import math
import pickle
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import CHECKED_TOGETHER, FIELD_NAMES, TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError

SEED = {  # the best configuration found by hand
    "student": "vit_base_patch16_224",
    "predictor_dim": 384,
    "predictor_depth": 12,
    "predictor_heads": 6,
    "mask_ratio": 0.75,
    "masking": "multiblock",
    "loss": "mse",
    "lr": 3e-4,
    "floor_lr": 3e-5,
    "warmup": 500 / 15834,
    "weight_decay": 0.04,
    "weight_decay_end": 0.4,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 0.02,
    "lr_schedule": "cosine",
    "ema": 0,
    "batch_size": 32,
    "epochs": 3,
}

WRONG = [
    ("student", 5, "must be a text"),
    ("student_dim", 100, "must be divisible by 64 (a head), such as 64 or 128, or give student_heads = 2"),
    ("student_dim", 8, "must be divisible by 64 (a head), such as 64, or give student_heads = 1"),
    ("student_dim", 10**20, "must be at most 65536"),
    ("student_dim", 0, "must be at least 1"),
    ("student_depth", 0, "must be at least 1"),
    ("student_heads", 0, "must be at least 1"),
    ("predictor_dim", 100, "must be divisible by 64 (a head), such as 64 or 128, or give predictor_num_heads = 2"),
    ("predictor_depth", 10**9, "must be at most 1024"),
    ("predictor_dim", None, "must be a whole number"),
    ("predictor_depth", 1.5, "must be a whole number"),
    ("predictor_num_heads", -1, "must be at least 1"),
    ("mask_ratio", 1.0, "must be between 0 and 1"),
    ("mask_ratio", 0, "must be between 0 and 1"),
    ("mask_ratio", math.nan, "must be between 0 and 1"),
    ("masking", "block", "did you mean 'multiblock'?"),
    ("predict_share", 0, "must be above 0 and at most 1"),
    ("predict_share", 1.01, "must be above 0 and at most 1"),
    ("loss", "l2", "known are mse, l1, smooth_l1"),
    ("context_weight", -0.5, "must be at least 0 and finite"),
    ("context_weight", math.inf, "must be at least 0 and finite"),
    ("lr", 0, "must be above 0 and finite"),
    ("lr", math.inf, "must be above 0 and finite"),
    ("lr", "1e-3", "must be a number"),
    ("min_lr", -1e-9, "must be at least 0 and finite"),
    ("min_lr", 1e-3, "must not be above lr = 0.0003"),
    ("lr_schedule", "cosin", "did you mean 'cosine'?"),
    ("warmup", 1, "must be at least 0 and below 1"),
    ("cooldown", 1.0, "must be at least 0 and below 1"),
    ("cooldown_shape", "sqrt", "did you mean '1-sqrt'?"),
    ("warmup_steps", -1, "must be at least 0 and below 2^53"),
    ("warmup_steps", 0.5, "must be a whole number"),
    ("weight_decay", -0.1, "must be at least 0 and finite"),
    ("weight_decay_end", math.inf, "must be at least 0 and finite"),
    ("beta1", 1.0, "must be at least 0 and below 1"),
    ("beta2", -0.5, "must be at least 0 and below 1"),
    ("grad_clip", 0, "must be above 0 and finite"),
    ("ema", 1.5, "must be at least 0 and at most 1"),
    ("batch_size", True, "must be a whole number"),
    ("epochs", 0, "must be above 0 and finite"),
    ("epochs", math.inf, "must be above 0 and finite"),
    ("epochs", "3", "must be a number"),
    ("epochs", True, "must be a number"),
    ("micro_batch", 0, "must be at least 1"),
    ("auto_batch", "yes", "must be true or false"),
    ("grad_checkpointing", 1, "must be true or false"),
    ("precision", "fp16", "must be one of auto, bf16, fp32"),
    ("compile", "yes", "must be true or false"),
    ("seed", -1, "must be at least 0 and below 2^63"),
    ("seed", 2**63, "must be at least 0 and below 2^63"),
    ("lr", 10**400, "must be a number below 1.8e308"),
    ("epochs", 10**400, "must be a number below 1.8e308"),
]


def test_defaults_are_the_seeds() -> None:
    config = TrialConfig()
    assert {name: getattr(config, name) for name in SEED} == pytest.approx(SEED)


def test_every_field_is_documented() -> None:
    documentation = TrialConfig.__doc__ or ""
    assert [name for name in FIELD_NAMES if f"\n        {name}: " not in documentation] == []


@pytest.mark.parametrize(("field", "value", "reason"), WRONG)
def test_a_wrong_value_is_refused_in_one_sentence(field: str, value: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig(**{field: value})
    error = caught.value
    assert (error.field, error.reason, str(error)) == (field, reason, f"{field} = {error.value!r}: {reason}")
    assert error.value == value or (math.isnan(value) and math.isnan(float(str(error.value))))


def test_every_field_has_a_value_that_is_refused() -> None:
    assert {field for field, _, _ in WRONG} == set(FIELD_NAMES)


def test_heads_follow_from_the_width_or_are_given() -> None:
    assert TrialConfig(predictor_dim=192).predictor_heads == 3
    assert TrialConfig(predictor_dim=100, predictor_num_heads=4).predictor_heads == 4
    words = "must be divisible by predictor_num_heads = 3, such as 99 or 102"
    with pytest.raises(ConfigError, match=rf"^predictor_dim = 100: {words}$"):
        TrialConfig(predictor_dim=100, predictor_num_heads=3)
    with pytest.raises(ConfigError, match=r"^student_dim = 2: must be divisible by student_heads = 3, such as 3$"):
        TrialConfig(student_dim=2, student_heads=3)


@given(width=st.integers(1, 600), heads=st.none() | st.integers(1, 600))
def test_what_a_refusal_of_a_width_names_is_right(width: int, heads: int | None) -> None:
    try:
        TrialConfig(student_dim=width, student_heads=heads)
    except ConfigError as error:
        words = error.reason
    else:
        return
    if heads is None:
        assert TrialConfig(student_dim=width, student_heads=int(words.split()[-1]))
    for other in re.findall(r"\d+", words.split("such as ")[1].split(", or give")[0]):
        assert TrialConfig(student_dim=int(other), student_heads=heads)


SINGLE: dict[str, list[Any]] = {
    "student": ["vit_tiny_patch16_224", 5],
    "student_dim": [None, 64, 96, 100, 0],
    "student_heads": [None, 1, 3, 5],
    "predictor_dim": [64, 96, 100],
    "predictor_num_heads": [None, 2, 3],
    "lr": [1e-4, 1e-2, -1],
    "min_lr": [None, 1e-3, 0],
    "batch_size": [8, 0],
    "mask_ratio": [0.5, 1],
    "warmup": [0.1, 1],
}


@given(values=st.fixed_dictionaries({}, optional={name: st.sampled_from(some) for name, some in SINGLE.items()}))
def test_what_is_wrong_together_is_named_as_checked_together(values: dict[str, Any]) -> None:
    """A search tries each field alone, and these fields together: nothing else can be wrong with a configuration."""

    def right(names: Iterable[str]) -> bool:
        try:
            TrialConfig(**{name: values[name] for name in names if name in values})
        except ConfigError:
            return False
        return True

    # A default may not go with a value: that is tried where the other field is left out.
    parts = [(name,) for name in values if not any(name in fields for fields in CHECKED_TOGETHER)]
    assert right(values) == all(right(names) for names in (*parts, *CHECKED_TOGETHER))


@pytest.mark.parametrize("make", [TrialConfig.from_dict, lambda values: TrialConfig().replace(**values)])
def test_unknown_names_come_with_a_suggestion(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"^learning_rat = 1: is no hyperparameter; known are student, "):
        make({"learning_rat": 1})
    with pytest.raises(ConfigError, match=r"^mask_ration = 0.5: is no hyperparameter; did you mean 'mask_ratio'\?$"):
        make({"mask_ration": 0.5})


@given(lr=st.floats(1e-8, 1e2))
def test_the_floor_follows_the_learning_rate(lr: float) -> None:
    assert TrialConfig(lr=lr).floor_lr == lr / 10
    assert TrialConfig(lr=lr, min_lr=0).floor_lr == 0
    assert TrialConfig().replace(lr=lr).floor_lr == lr / 10


def test_whole_numbers_pass_for_the_other_kind_of_number() -> None:
    config = TrialConfig(lr=1, batch_size=16.0)  # type: ignore[arg-type]
    assert isinstance(config.lr, float)
    assert isinstance(config.batch_size, int)
    assert config == TrialConfig(lr=1.0, batch_size=16)


@given(epochs=st.integers(1, 10**6))
def test_whole_epochs_stay_whole_and_others_are_kept(epochs: int) -> None:
    for given_as in (epochs, float(epochs)):
        assert str(TrialConfig(epochs=given_as).epochs) == str(epochs)
    assert TrialConfig(epochs=epochs + 0.25).epochs == epochs + 0.25


def test_a_mask_must_leave_something_on_both_sides_of_the_data_at_hand() -> None:
    view = View(frames=4, size=32, patch=16)  # 2 x 2 patches
    for ratio in (0.2, 0.8):
        TrialConfig(mask_ratio=ratio).check_data(view, 32)
    for ratio in (0.1, 0.9):
        with pytest.raises(
            ConfigError, match=rf"^mask_ratio = {ratio}: must lie between 0.125 and 0.875 on 2 x 2 patches$"
        ):
            TrialConfig(mask_ratio=ratio).check_data(view, 32)


def test_a_batch_needs_no_more_clips_than_there_are() -> None:
    TrialConfig(batch_size=32).check_data(View(), 32)
    with pytest.raises(ConfigError, match=r"^batch_size = 33: must not exceed the 32 training clips$"):
        TrialConfig(batch_size=33).check_data(View(), 32)


def numbers(low: float, high: float, **options: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False, **options)


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "student": st.sampled_from(["vit_base_patch16_224", "vit_tiny_patch16_224"]),
        "student_dim": st.none() | st.integers(1, 12).map(lambda heads: 64 * heads),
        "student_depth": st.none() | st.integers(1, 24),
        "predictor_dim": st.integers(1, 12).map(lambda heads: 64 * heads),
        "predictor_depth": st.integers(1, 24),
        "mask_ratio": numbers(0, 1, exclude_min=True, exclude_max=True),
        "masking": st.sampled_from(["multiblock", "multiblock_both", "tube", "random"]),
        "predict_share": numbers(0, 1, exclude_min=True),
        "loss": st.sampled_from(["mse", "l1", "smooth_l1"]),
        "context_weight": numbers(0, 10),
        "lr": numbers(1e-8, 10),
        "min_lr": st.none() | numbers(0, 1e-8),
        "lr_schedule": st.sampled_from(["cosine", "wsd"]),
        "warmup": numbers(0, 1, exclude_max=True),
        "warmup_steps": st.none() | st.integers(0, 2**53 - 1),
        "ema": numbers(0, 1),
        "weight_decay": numbers(0, 10),
        "weight_decay_end": numbers(0, 10),
        "beta1": numbers(0, 1, exclude_max=True),
        "beta2": numbers(0, 1, exclude_max=True),
        "grad_clip": st.none() | numbers(1e-6, 100),
        "batch_size": st.integers(1, 4096),
        "epochs": st.integers(1, 800) | numbers(1e-6, 800),
        "micro_batch": st.none() | st.integers(1, 4096),
        "auto_batch": st.booleans(),
        "grad_checkpointing": st.booleans(),
        "precision": st.sampled_from(["auto", "bf16", "fp32"]),
        "compile": st.booleans(),
        "seed": st.integers(0, 2**63 - 1),
    },
)


@given(values=CONFIGS)
def test_a_configuration_survives_dictionaries_and_pickle(values: dict[str, Any]) -> None:
    config = TrialConfig.from_dict(values)
    assert set(config.to_dict()) == {field.name for field in fields(TrialConfig)}
    assert config.to_dict().items() >= values.items()
    assert TrialConfig.from_dict(config.to_dict()) == config
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301
    assert hash(TrialConfig.from_dict(values)) == hash(config)


def test_the_error_survives_pickle() -> None:
    error = ConfigError("lr", 0, "must be above 0")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert isinstance(back, ConfigError)
    assert (back.field, back.value, back.reason, str(back)) == ("lr", 0, "must be above 0", "lr = 0: must be above 0")

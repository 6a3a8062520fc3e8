"""Trials that are written at once are those that Optuna itself would write."""

import math
from datetime import datetime

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from salt_tune.callbacks.study_file import add_trials

BEGAN = datetime(2026, 12, 1, 10, 30)
DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "depth": IntDistribution(1, 4),
    "loss": CategoricalDistribution(("mse", "l1", None, True)),
}


@st.composite
def trials(draw: st.DrawFn) -> FrozenTrial:
    state = draw(st.sampled_from([*TrialState]))
    values = {"lr": st.floats(1e-5, 1e-1), "depth": st.integers(1, 4), "loss": st.sampled_from(["mse", "l1", None])}
    params = {name: draw(values[name]) for name in draw(st.sets(st.sampled_from([*DISTRIBUTIONS])))}
    value = draw(st.floats(-9, 9) | st.sampled_from([math.inf, -math.inf]))
    trial = create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        user_attrs=draw(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.lists(st.text()))),
        intermediate_values=draw(st.dictionaries(st.integers(0, 5), st.floats(-9, 9) | st.sampled_from([math.inf]))),
    )
    trial.datetime_start = BEGAN
    trial.datetime_complete = BEGAN if state.is_finished() else None
    return trial


@given(st.lists(trials(), max_size=4))
@settings(deadline=None, max_examples=10)
def test_they_are_what_optuna_would_write(told: list[FrozenTrial]) -> None:
    ours, theirs = RDBStorage("sqlite://"), RDBStorage("sqlite://")
    for storage in (ours, theirs):
        storage.create_new_study([StudyDirection.MINIMIZE], "s")
    added = add_trials(ours, 1, told)
    assert added == [theirs.create_new_trial(1, trial) for trial in told]
    written = optuna.load_study(study_name="s", storage=ours).trials
    assert written == optuna.load_study(study_name="s", storage=theirs).trials
    assert [trial.number for trial in written] == [*range(len(told))]

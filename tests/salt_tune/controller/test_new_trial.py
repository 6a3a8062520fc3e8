"""From values of what is searched to a trial."""

from salt_tune.controller.factory import make_searcher
from salt_tune.controller.new_trial import new_trial
from tests.salt_tune.made_trials import make_space


def test_a_new_trial_names_what_points_vary_and_has_fixed_values_epochs_and_seed() -> None:
    varied = make_space(start_from=[{"batch_size": 4}], fixed={"beta2": 0.99}, schedule={"epochs": 7})
    searcher = make_searcher(varied, seed=0)
    first, second = (new_trial(varied, f"T{n}", searcher.suggest(f"T{n}") or {}, seed=11) for n in range(2))
    assert (first.parameters["batch_size"], second.parameters["batch_size"]) == (4, 32)
    assert first.origin == "tpe" and new_trial(varied, "T2", {}, seed=0, from_start=True).origin == "start_from"
    assert (first.config["beta2"], first.config["epochs"], first.config["seed"], first.seed) == (0.99, 7, 11, 11)

"""The replay of known curves: its files, its clock, its figures, and the peers it is compared with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.replay import curves, figures, frontier, methods, peers, synthetic
from benchmarks.replay.clock import Method, Replay, replay
from benchmarks.replay.curves import Array, Pool
from benchmarks.replay.suggestions import InOrder, Learned
from salt_tune.schedulers.asha import Asha


def pool(values: Array) -> Pool:
    """A pool of (configurations, 1 + steps) values, a time unit a step."""
    clock = np.tile(np.arange(values.shape[1], dtype=np.float64), (len(values), 1))
    return Pool("task", values[None], clock, values[:, -1], None)


def flat(*ends: float, steps: int = 9) -> Pool:
    """A pool of curves that stay where they are."""
    return pool(np.repeat(np.array(ends)[:, None], steps + 1, axis=1))


def test_curves_survive_the_file(tmp_path: Path) -> None:
    values, hyperparameters = synthetic.draw("diverging", 9, configs=20, seeds=2)
    curves.write(tmp_path / "curves.parquet", "task", values)
    curves.write_configs(tmp_path / "configs.parquet", hyperparameters)
    (read,) = curves.read(tmp_path / "curves.parquet", 9, tmp_path / "configs.parquet")
    np.testing.assert_array_equal(read.values, values)
    np.testing.assert_array_equal(read.ends, values[:, :, 9].mean(0))
    np.testing.assert_array_equal(read.clock[0], np.arange(10))
    assert read.units is not None
    np.testing.assert_array_equal(read.units.argsort(0), hyperparameters.argsort(0))


def test_a_cost_column_is_the_clock(tmp_path: Path) -> None:
    curves.write(tmp_path / "curves.parquet", "task", np.zeros((1, 2, 4)))
    table = pd.read_parquet(tmp_path / "curves.parquet")
    table.assign(cost=np.where(table["config"] == 1, 2.5, 1.0)).to_parquet(tmp_path / "curves.parquet")
    (read,) = curves.read(tmp_path / "curves.parquet", 3)
    np.testing.assert_array_equal(read.clock, [[0, 1, 2, 3], [0, 2.5, 5, 7.5]])


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_the_same_seed_draws_the_same_curves(kind: synthetic.Kind) -> None:
    for first, second in zip(synthetic.draw(kind, 9), synthetic.draw(kind, 9), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(synthetic.draw(kind, 9)[0], synthetic.draw(kind, 9, seed=1)[0])


def test_the_order_turns_round_where_it_is_said_to() -> None:
    values = synthetic.draw("crossing", 27)[0].mean(0)
    kept = values[np.isfinite(values[:, -1])]
    agreement = [np.corrcoef(kept[:, step], kept[:, -1])[0, 1] for step in range(28)]
    assert max(agreement[1 : synthetic.CROSSING - 2]) < -0.9
    assert min(agreement[synthetic.CROSSING + 3 :]) > 0.9


def test_three_in_ten_diverge_and_stay_so() -> None:
    lost = ~np.isfinite(synthetic.draw("diverging", 27, seeds=1)[0][0])
    assert lost[:, -1].mean() == pytest.approx(0.3, abs=0.05)
    assert (np.diff(lost.astype(int), axis=1) >= 0).all() and not lost[:, 0].any()


def test_one_worker_trains_one_after_the_other() -> None:
    one = replay(Asha((3.0, 9.0), 3), InOrder([0, 1, 2]), flat(0.1, 0.2, 0.3), workers=1)
    assert one.jobs == [("T0", 3), ("T1", 3), ("T2", 3), ("T0", 9)]
    assert one.makespan == one.spent[-1] == 15
    assert (one.starts, one.finished, one.recommended[-1]) == ([0, 1, 2], 1, 0.1)


def test_no_worker_waits_while_there_is_something_to_do() -> None:
    one = replay(methods.to_the_end(4, 9), InOrder(range(4)), flat(0.1, 0.2, 0.3, 0.4), workers=3)
    assert (one.makespan, one.spent) == (18, [27, 27, 27, 36])


def test_what_runs_is_counted_as_far_as_it_is() -> None:
    values = flat(0.1, 0.2, steps=4)
    values.clock[1] *= 2
    one = replay(methods.to_the_end(2, 4), InOrder([0, 1]), values, workers=2)
    assert (one.spent, one.makespan) == ([6, 8], 8)


def test_a_lost_trial_ends_where_it_diverges() -> None:
    values = flat(0.1, 0.2).values[0]
    values[0, 2:] = np.inf
    one = replay(Asha((3.0, 9.0), 2), InOrder([0, 1]), pool(values), workers=1)
    assert one.jobs == [("T0", 3), ("T1", 3), ("T1", 9)]
    assert one.spent == [2, 5, 11]
    assert one.recommended == [np.inf, 0.2, 0.2]


def test_rays_asha_stops_who_is_below_the_quantile() -> None:
    # At step 1 the first goes on; the second is worse than it, the third better than the upper third of both.
    one = replay(peers.ray_asha(3, 9, grace=1), InOrder([0, 1, 2]), flat(0.2, 0.3, 0.1), workers=1)
    assert [sum(trial == name for trial, _ in one.jobs) for name in ("T0", "T1", "T2")] == [9, 1, 9]
    assert (one.spent[-1], one.finished) == (19, 2)


@pytest.mark.filterwarnings("error")
def test_rays_asha_learns_nothing_from_a_lost_trial() -> None:
    values = flat(0.2, 0.3, 0.4).values[0]
    values[0, 1:] = np.inf
    one = replay(peers.ray_asha(3, 9, grace=1), InOrder([0, 1, 2]), pool(values), workers=1)
    assert [trial for trial, _ in one.jobs].count("T1") == 9


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", methods.installed())
def test_every_method_starts_all_and_recommends_the_best_of_flat_curves(name: str, workers: int) -> None:
    ends = np.random.default_rng(0).random(12)
    method: Method = methods.CONTENDERS[name].make(12, 27)
    one = replay(method, InOrder(range(12)), flat(*ends, steps=27), workers)
    assert sorted(one.starts) == [*range(12)]
    assert one.finished >= 1 and one.recommended[-1] == ends.min()
    assert all(before <= after for before, after in zip(one.spent, one.spent[1:], strict=False))


def test_an_interleaved_search_goes_on_before_all_have_started() -> None:
    jobs = replay(methods.Interleaved((1.0, 2.0, 4.0), 9), InOrder(range(9)), flat(*range(1, 10), steps=4), 1).jobs
    assert [to for _, to in jobs[:3]] == [1, 1, 1]
    assert [trial for trial, _ in jobs].index("T8") > [to for _, to in jobs].index(2)


def test_a_searcher_gets_the_nearest_configuration_that_is_left() -> None:
    drawn = np.random.default_rng(0).random((30, 2))
    space = Pool("task", np.zeros((1, 30, 2)), np.zeros((30, 2)), np.zeros(30), drawn)
    learned = Learned("random", space, trials=30, seed=0)
    assert sorted(learned.start(f"T{number}") for number in range(30)) == [*range(30)]


def test_regret_of_a_hand_case() -> None:
    case = flat(0.1, 0.2, 0.3, 0.5, np.inf)
    assert [case.rank(end) for end in (0.1, 0.3)] == [0, 0.4]
    assert [case.regret(end) for end in (0.1, 0.2, 0.5)] == pytest.approx([0, 2 / 3, 1])
    table = figures.tabulate([(case, Replay([2.0, 5.0], [np.inf, 0.2], makespan=5.0))], most=6)
    assert table.ranks.tolist() == [[0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2]]


def test_the_interquartile_mean_is_of_the_middle_half() -> None:
    values = np.array([[9.0], [1.0], [2.0], [3.0]])
    counts = np.array([[1, 1, 1, 1], [0, 4, 0, 0], [2, 2, 0, 0]])
    assert figures.interquartile_mean(values, counts)[:, 0].tolist() == [2.5, 1, 5]


def test_between_two_sizes_epochs_and_regret_are_interpolated() -> None:
    regrets, epochs = np.array([[0.8, 0.4, 0.5, 0.2]]), np.array([[10.0, 20.0, 30.0, 40.0]])
    needed = {target: frontier.epochs_to(np.array([target]), regrets, epochs)[0] for target in (0.9, 0.6, 0.3, 0.1)}
    assert needed == pytest.approx({0.9: 10, 0.6: 15, 0.3: 35, 0.1: np.inf})


def test_half_the_epochs_at_each_regret_are_a_share_of_a_half() -> None:
    def table(epochs: float, regret: float) -> figures.Table:
        whole = np.full(4, epochs)
        return figures.Table(whole, whole, whole, np.full((4, 1), regret), np.full((4, 1), regret))

    ends = {4: (10.0, 0.8), 8: (20.0, 0.4), 16: (30.0, 0.2)}
    tables = {
        name: {size: table(factor * epochs, regret) for size, (epochs, regret) in ends.items()}
        for name, factor in (("reference", 1), ("half", 0.5))
    }
    tables["worse"] = {size: table(epochs, 0.9) for size, (epochs, _) in ends.items()}
    rows = frontier.summarise(tables, figures.resamples(1, 4), "reference", sizes=(4, 8, 16), targets=(4, 16))
    shares = {name: [row[f"share to the regret of {size}"][0] for size in (4, 16)] for name, row in rows.items()}
    assert shares == {"reference": [1, 1], "half": [0.5, 0.5], "worse": [np.inf, np.inf]}
    assert rows["half"]["epochs of 8 trials"] == (10, 10, 10)

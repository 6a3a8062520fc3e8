"""Searches a task in `ray.tune.Tuner` with one of Ray's schedulers: `python -m examples.ray_tuner.tuner STORE RUNS`.

It has what Ray has. What `salt_tune` adds is missing: comparable trials, promotions, a journal, verdicts.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from trainable.budget import Budget
from trainable.ray_trainable import TaskTrainable
from trainable.task import find_task
from trainable.worker import RunSpec

EPOCHS = 3


def search(store: Path, runs: Path, trials: int, task_name: str = "salt") -> tune.ResultGrid:
    """Searches the learning rate and the depth of the predictor.

    Args:
        store: the clip store.
        runs: folder for checkpoints and for Ray's results.
        trials: how many configurations to try.
        task_name: of the registry, or "package.module:Class".
    """
    task = find_task(task_name)
    points = [float(epoch) for epoch in range(1, EPOCHS + 1)]
    run = RunSpec(
        task=task_name,
        data=str(store.absolute()),
        evaluation=task.evaluation({}),
        budget=Budget("epoch", float(EPOCHS), points, probe_points=[points[-1]]),
        checkpoints=str(runs.absolute() / "checkpoints"),
        clip_losses=str(runs.absolute() / "clip_losses/{trial}/resource-{resource:.4f}.parquet"),
        threads=1,
        device=task.device(),
    )
    space = {"lr": tune.loguniform(1e-4, 1e-2)}
    if "predictor_depth" in task.defaults:
        space["predictor_depth"] = tune.choice([1, 2, 4])
    tuner = tune.Tuner(
        TaskTrainable,
        param_space={"run": asdict(run), "trial": space},
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=trials,
            scheduler=ASHAScheduler(time_attr="resource", max_t=EPOCHS, grace_period=1, reduction_factor=2),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="ray_tuner", storage_path=str(runs.absolute())),
    )
    return tuner.fit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="a clip store, made by python -m salt_tune.prepare")
    parser.add_argument("runs", type=Path, help="folder for what it writes")
    parser.add_argument("--trials", type=int, default=4)
    given = parser.parse_args()
    best = search(given.store, given.runs, given.trials).get_best_result()
    print(f"val_loss {best.metrics['val_loss']:.4f} with {best.config['trial']}")

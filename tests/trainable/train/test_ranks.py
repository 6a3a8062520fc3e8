"""Several processes train as one: the same weights, the same sums, an end at the same step. Real processes, gloo."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from tests.forked import fork_server
from tests.trainable.conftest import MakeTraining
from tests.trainable.small import SMALL
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.train.checkpoint import load_checkpoint, save_checkpoint
from trainable.train.ranks import Group
from trainable.train.training import Training

MEANS = ("train_loss", "grad_norm", "clipped_share", "lr", "weight_decay")
CLOSE = 1e-5  # absolute, of a weight
CONFIG = SMALL.replace(grad_clip=0.5, ema=0.3)

Told = dict[str, Any]
Body = Callable[[Training, Path], Told]


def shared(store: ClipStore, folder: Path, config: TrialConfig, count: int, body: Body) -> list[Told]:
    """What so many processes tell of a training that they share; each calls `body` with its part of it."""
    folder.mkdir()
    words = (store.path, folder, config, count, body)
    processes = [fork_server().Process(target=_run, args=(rank, *words)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]


def _run(rank: int, store: Path, folder: Path, config: TrialConfig, count: int, body: Body) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=count)
    training = Training(config, ClipStore.open(store), device="cpu", ranks=Group(torch.device("cpu")))
    told = body(training, folder)
    training.close()
    tensors = training.state_dict()["tensors"]
    weights = hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors) if "." in name))
    told |= {"step": training.step, "status": training.status, "weights": weights.hexdigest()}
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def _to_the_end(training: Training, folder: Path) -> Told:
    training.train_to(training.total_steps)
    if training.ranks.rank == 0:
        save_checkpoint(folder / "checkpoint", training)
    return training.collect()


def _from_half(training: Training, folder: Path) -> Told:
    load_checkpoint(folder.parent / "half", training)
    return _to_the_end(training, folder)


def _stopped_by_the_second(training: Training, folder: Path) -> Told:
    def stop(*_: object) -> None:
        if training.ranks.rank == 1 and training.step == 2:
            training.stop.set()

    training.model.register_forward_hook(stop)
    return _to_the_end(training, folder)


def _infinite_on_the_second(training: Training, folder: Path) -> Told:
    if training.ranks.rank == 1:  # a loss alone: its gradients are finite
        training.model.register_forward_hook(lambda _module, _inputs, output: output + torch.inf)
    training.train_to(training.total_steps)
    return {}


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    """The weights and averaged weights of a checkpoint, without the biases of keys.

    Softmax takes away what those add to all keys alike. So their gradients are errors of rounding, which Adam scales
    up: they differ by as much where one process takes the rows of a batch in another order.
    """
    weights = {name: tensor for name, tensor in load_file(file).items() if name.startswith(("model.", "averaged."))}
    for name, tensor in weights.items():
        if name.endswith("attn.qkv.bias"):
            tensor.chunk(3)[1].zero_()
    return weights


def furthest(one: Path, other: Path) -> float:
    """The largest difference between weights of two checkpoints."""
    ones, others = weights_of(one), weights_of(other)
    assert ones.keys() == others.keys()
    return max(float((ones[name] - others[name]).abs().max()) for name in ones)


def alone(make_training: MakeTraining, file: Path, config: TrialConfig) -> dict[str, float]:
    """What a process alone reports; its checkpoint is in `file`."""
    training = make_training(**config.to_dict())
    training.train_to(training.total_steps)
    save_checkpoint(file, training)
    return training.collect()


@pytest.mark.parametrize(
    ("count", "parts"),
    [(2, None), (3, None), (3, 2)],
    ids=["even shares", "uneven shares", "uneven shares in parts, of one as well"],
)
def test_they_come_to_the_weights_and_sums_of_one(
    count: int, parts: int | None, store: ClipStore, make_training: MakeTraining, tmp_path: Path
) -> None:
    config = CONFIG.replace(batch_size=8, micro_batch=parts)
    report = alone(make_training, tmp_path / "alone", config)
    told = shared(store, tmp_path / "shared", config, count, _to_the_end)
    assert furthest(tmp_path / "alone", tmp_path / "shared" / "checkpoint") < CLOSE
    assert len({each["weights"] for each in told}) == 1, "to the last bit, averaged weights too"
    for each in told:
        assert {name: each[name] for name in MEANS} == pytest.approx({name: report[name] for name in MEANS}, rel=1e-5)
    assert report["clipped_share"] > 0


@pytest.mark.slow
def test_after_200_steps_they_are_as_close(store: ClipStore, make_training: MakeTraining, tmp_path: Path) -> None:
    config = CONFIG.replace(epochs=50)
    alone(make_training, tmp_path / "alone", config)
    (told, _) = shared(store, tmp_path / "shared", config, 2, _to_the_end)
    assert told["step"] == 200
    assert furthest(tmp_path / "alone", tmp_path / "shared" / "checkpoint") < CLOSE


def test_one_goes_on_as_two_from_the_middle_of_a_report(
    store: ClipStore, make_training: MakeTraining, tmp_path: Path
) -> None:
    report = alone(make_training, tmp_path / "alone", CONFIG)
    half = make_training(**CONFIG.to_dict())
    half.train_to(3)  # within an epoch
    save_checkpoint(tmp_path / "half", half)
    told = shared(store, tmp_path / "shared", CONFIG, 2, _from_half)
    assert furthest(tmp_path / "alone", tmp_path / "shared" / "checkpoint") < CLOSE
    assert told[1]["train_loss"] == pytest.approx(report["train_loss"], rel=1e-5)


def test_two_that_one_of_them_stops_end_at_the_same_step_and_one_goes_on(
    store: ClipStore, make_training: MakeTraining, tmp_path: Path
) -> None:
    report = alone(make_training, tmp_path / "alone", CONFIG)
    told = shared(store, tmp_path / "shared", CONFIG, 2, _stopped_by_the_second)
    assert [(each["step"], each["status"]) for each in told] == [(4, "running")] * 2
    resumed = make_training(**CONFIG.to_dict())
    load_checkpoint(tmp_path / "shared" / "checkpoint", resumed)
    resumed.train_to(resumed.total_steps)
    save_checkpoint(tmp_path / "resumed", resumed)
    assert furthest(tmp_path / "alone", tmp_path / "resumed") < CLOSE
    assert resumed.collect()["train_loss"] == pytest.approx(report["train_loss"], rel=1e-5)


def test_a_loss_that_is_infinite_on_one_ends_it_on_all(store: ClipStore, tmp_path: Path) -> None:
    config = CONFIG.replace(loss="l1", epochs=30)
    told = shared(store, tmp_path / "shared", config, 2, _infinite_on_the_second)
    assert [(each["step"], each["status"]) for each in told] == [(50, "diverged")] * 2

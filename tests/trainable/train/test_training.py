"""A training is the same training wherever it was stopped, and says truthfully how it goes."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from tests.trainable.conftest import MakeTraining, StoreOf
from tests.trainable.small import SMALL, assert_equal_tensors, rows, tensors_of
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.loader import Loader
from trainable.errors import CheckpointError, ConfigError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.held_out_loss import val_loss
from trainable.masking.masks import Masks
from trainable.train.checkpoint import load_checkpoint, save_checkpoint
from trainable.train.training import CHECK_EVERY, Training

STEPS = 8  # 2 epochs of 4 batches of 8 clips
CLOCKS = {"clips_per_second", "training", "waiting"}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


def train(training: Training, step: int = STEPS) -> dict[str, float]:
    """Trains and returns the report without what a clock says."""
    training.train_to(step)
    return {name: value for name, value in training.collect().items() if name not in CLOCKS}


def test_latents_are_predicted_from_their_training_mean_on_and_pixels_from_zero(
    make_training: MakeTraining, store: ClipStore
) -> None:
    """Untrained, the loss is higher by what the mean explains where it starts from zero."""
    training, pixels = make_training(), make_training(options={"target": "pixels"})
    assert training.model.predictor.project.bias.tolist() == pytest.approx(store.teacher.mean.tolist())
    assert not pixels.model.predictor.project.bias.any()
    evaluator = Evaluator(store, EvaluationConfig())
    first = val_loss(evaluator.judge(training))
    with torch.no_grad():
        training.model.predictor.project.bias.zero_()
    explained = float((store.teacher.mean**2).mean())
    assert val_loss(evaluator.judge(training)) - first == pytest.approx(explained, rel=0.25)
    evaluator.close()


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        *((stop, {}) for stop in (1, 3, 4, 5, 7)),
        (5, {"masking": "multiblock_both"}),
        (5, {"predict_share": 0.3}),
        (2, {"context_weight": 0.5, "warmup": 0.3}),  # in the middle of its rise
        (5, {"masking": "multiblock_both", "predict_share": 0.3, "context_weight": 0.5, "ema": 0.1}),
    ],
    ids=str,
)
def test_a_run_that_was_stopped_and_resumed_is_the_same_run(
    make_training: MakeTraining, tmp_path: Path, stop: int, changes: dict[str, Any]
) -> None:
    straight = make_training(**changes)
    report = train(straight)

    first = make_training(**changes)
    first.train_to(stop)
    save_checkpoint(tmp_path / "checkpoint", first)
    first.close()
    torch.manual_seed(999)  # whatever else happened in between
    second = make_training(**changes)
    load_checkpoint(tmp_path / "checkpoint", second)
    assert second.step == stop
    resumed = train(second)

    assert_equal_tensors(tensors_of(second), tensors_of(straight))
    assert resumed == report
    assert second.windows == straight.windows
    assert (second.step, second.status, second.epoch) == (STEPS, "complete", 2.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "l1"},
        {"loss": "smooth_l1"},
        {"masking": "tube"},
        {"masking": "random"},
        {"masking": "multiblock_long", "mask_ratio": 0.5},
        {"masking": "multiblock_both"},
        {"predict_share": 0.3},
        {"context_weight": 0.5},
        {"grad_checkpointing": True},
        {"grad_clip": None},
        {"lr_schedule": "wsd"},
    ],
)
def test_every_kind_of_training_learns(make_training: MakeTraining, changes: dict[str, Any]) -> None:
    training = make_training(epochs=6, lr=3e-3, **changes)
    first = train(training, 4)
    last = train(training, 24)
    assert last["train_loss"] < first["train_loss"]
    assert training.status == "complete"


def test_losses_differ_as_their_formulas_do(make_training: MakeTraining, store: ClipStore) -> None:
    losses = {}
    for loss in ("mse", "l1", "smooth_l1"):
        training = make_training(loss=loss)
        losses[loss] = train(training, 1)["train_loss"]
    training = make_training()
    batch = next(Loader(store, store.train, Masks(store.view, "multiblock", 0.75, 0), 8).training_epoch(0, 0))
    with torch.no_grad():
        error = (training.model(batch.pixels, batch.visible, batch.masked) - batch.targets.float()).abs()
    assert losses["mse"] == pytest.approx(error.square().mean().item(), rel=1e-4)
    assert losses["l1"] == pytest.approx(error.mean().item(), rel=1e-4)
    huber = torch.where(error < 1, error.square() / 2, error - 0.5).mean().item()
    assert losses["smooth_l1"] == pytest.approx(huber, rel=1e-4)


def one_step(training: Training) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Both losses and the gradients of the first step, computed plainly: mask by mask, and visible token by token."""
    config, store, model = training.config, training.store, training.model
    clips = np.random.Generator(np.random.Philox(key=[config.seed, 0])).permutation(len(store.train))[:8]
    drawn = Masks(store.view, config.masking, config.mask_ratio, config.seed, config.predict_share).draw(
        0, store.train.keys[clips]
    )
    pixels, latents = rows(store, store.train, clips)
    places = torch.tensor(list(np.ndindex(store.view.grid)), dtype=torch.float32)
    masked_loss, context_loss = [], []
    for clip, mask in np.ndindex(drawn.visible.shape[:2]):
        visible, asked = (torch.from_numpy(tokens[clip, mask]) for tokens in (drawn.visible, drawn.masked))
        features = model.student(pixels[clip, visible][None], visible[None])
        predicted = model.predictor(features, visible[None], asked[None], context=config.context_weight > 0)[0]
        errors = (predicted - torch.cat([latents[clip, asked], latents[clip, visible]])[: len(predicted)]).square()
        masked_loss.append(errors[: len(asked)].mean())
        hidden = [token for token in range(store.view.tokens) if token not in visible.tolist()]
        for token, error in zip(visible, errors[len(asked) :], strict=False):
            distance = (places[token] - places[hidden]).square().sum(dim=1).min().sqrt()
            context_loss.append(error.mean() / distance.sqrt())
    loss = torch.stack(masked_loss).mean()
    context = torch.stack(context_loss).mean() if context_loss else torch.tensor(0.0)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss + config.context_weight * context, [*parameters.values()])
    return loss.item(), context.item(), dict(zip(parameters, gradients, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"masking": "multiblock_both"},
        {"predict_share": 0.3},
        {"context_weight": 0.5},
        {"masking": "multiblock_both", "predict_share": 0.3, "context_weight": 0.5},
    ],
    ids=str,
)
def test_a_step_is_what_it_is_computed_plainly(make_training: MakeTraining, changes: dict[str, Any]) -> None:
    training = make_training(**changes, warmup=0, grad_clip=None)
    loss, context, gradients = one_step(training)
    kept: dict[str, torch.Tensor] = {}

    def keep(*_: object) -> None:
        kept.update({name: p.grad.clone() for name, p in training.model.named_parameters() if p.grad is not None})

    training.optimizer.register_step_pre_hook(keep)
    report = train(training, 1)
    assert report["train_loss"] == pytest.approx(loss, rel=1e-5)
    assert report.get("context_loss", 0.0) == pytest.approx(context, rel=1e-5)
    assert kept.keys() == gradients.keys() == dict(training.model.named_parameters()).keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(kept[name], gradient, rtol=1e-3, atol=1e-6)


def test_the_loss_on_visible_tokens_is_reported_where_it_is_on(make_training: MakeTraining) -> None:
    assert "context_loss" not in train(make_training(), 1)
    report = train(make_training(context_weight=0.5), 1)
    assert report["context_loss"] > 0
    assert math.isnan(make_training(context_weight=0.5).collect()["context_loss"])


@pytest.mark.parametrize(
    "schedule", [{"warmup": 0.25}, {"warmup_steps": 2}, {"lr_schedule": "wsd", "warmup_steps": 2}], ids=str
)
def test_the_loss_on_visible_tokens_comes_in_after_the_learning_rate(
    make_training: MakeTraining, schedule: dict[str, Any]
) -> None:
    """Two steps of warm-up of eight: until then the output for visible tokens gets no gradient."""
    training = make_training(**schedule, context_weight=0.5, grad_clip=None)
    output = training.model.predictor.project_context
    assert output is not None
    reached: list[bool] = []
    training.optimizer.register_step_pre_hook(
        lambda *_: reached.append(output.bias.grad is not None and bool(output.bias.grad.any()))
    )
    train(training)
    assert reached == [False, False, *[True] * 6]
    assert make_training(warmup=0, context_weight=0.5)._context_weight() == 0.5
    for step, expected in enumerate([0, 0, 0.25, 0.5, 0.5]):
        training.step = step
        assert training._context_weight() == expected


def test_a_clip_counts_once_whatever_masks_it_is_seen_under(make_training: MakeTraining) -> None:
    training = make_training(masking="multiblock_both")
    training.train_to(STEPS)
    report = training.collect()
    assert report["clips_per_second"] == pytest.approx(STEPS * 8 / report["training"])


def test_the_seed_decides_the_run(make_training: MakeTraining) -> None:
    one, same, other = make_training(), make_training(), make_training(seed=1)
    reports = [train(training) for training in (one, same, other)]
    assert_equal_tensors(tensors_of(one), tensors_of(same))
    assert reports[0] == reports[1] != reports[2]
    assert not torch.equal(
        tensors_of(one)["model.student.embed.weight"], tensors_of(other)["model.student.embed.weight"]
    )


def test_neither_threads_nor_a_stop_matter_where_epochs_show_other_views(
    make_training: MakeTraining, store_of: StoreOf, tmp_path: Path
) -> None:
    """JPEGs, decoded in threads, and int8 targets; the stop is in the middle of the second epoch."""
    of = store_of("jpeg", "int8")
    one, more, resumed = (make_training(of=of, epochs=3, options={"loader_threads": count}) for count in (1, 4, 2))
    report = train(one, 12)
    more.train_to(6)
    save_checkpoint(tmp_path / "checkpoint", more)
    load_checkpoint(tmp_path / "checkpoint", resumed)
    for training in (more, resumed):
        assert train(training, 12) == report
        assert_equal_tensors(tensors_of(training), tensors_of(one))


def test_rounding_the_targets_to_int8_hardly_changes_the_training(
    make_training: MakeTraining, store_of: StoreOf
) -> None:
    one, other = (train(make_training(of=store_of("raw", kind)))["train_loss"] for kind in ("float16", "int8"))
    assert 0 < abs(other / one - 1) < 5e-3


def test_each_epoch_sees_new_masks(make_training: MakeTraining) -> None:
    training = make_training()
    seen = []
    training.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].sum().item()))
    train(training)
    assert len(seen) == STEPS
    assert sorted(seen[:4]) != sorted(seen[4:])


def test_biases_norms_and_the_mask_token_do_not_decay(make_training: MakeTraining) -> None:
    """With gradients clipped to nothing, only the decay is left to move weights."""
    training = make_training(grad_clip=1e-30, weight_decay=0.5, weight_decay_end=0.5, lr=1e-2, warmup=0)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.fill_(1.0)
    train(training, 1)
    moved = {name: not torch.allclose(p, torch.ones(())) for name, p in training.model.named_parameters()}
    matrices = {name: parameter.ndim >= 2 for name, parameter in training.model.named_parameters()}
    assert moved == matrices
    assert not moved["predictor.mask_token"]
    assert not moved["student.norm.weight"]
    assert moved["student.embed.weight"]


def test_schedules_are_applied_and_reported(make_training: MakeTraining) -> None:
    training = make_training(warmup=0.5, lr=1e-3, weight_decay=0.0, weight_decay_end=0.4)
    for step, lr, decay in ((2, 5e-4, 0.0586), (4, 1e-3, 0.2), (8, 1e-4, 0.4)):
        report = train(training, step)
        assert report["lr"] == pytest.approx(lr)
        assert report["weight_decay"] == pytest.approx(decay, abs=1e-3)
        groups = {group["decays"]: group for group in training.optimizer.param_groups}
        assert {group["lr"] for group in groups.values()} == {report["lr"]}
        assert (groups[True]["weight_decay"], groups[False]["weight_decay"]) == (report["weight_decay"], 0.0)


def test_a_run_at_a_constant_rate_is_the_beginning_of_a_longer_one(make_training: MakeTraining) -> None:
    short, long = (
        make_training(lr_schedule="wsd", warmup_steps=3, cooldown=0, ema=0.5, epochs=epochs) for epochs in (1, 5)
    )
    reports = [train(training, 4) for training in (short, long)]
    assert reports[0] == reports[1]
    assert (reports[0]["lr"], reports[0]["weight_decay"]) == (short.config.lr, short.config.weight_decay)
    assert (short.status, long.status) == ("complete", "running")
    assert_equal_tensors(tensors_of(short), tensors_of(long))


def test_it_is_prolonged_to_the_same_weights(make_training: MakeTraining, tmp_path: Path) -> None:
    settings = {"lr_schedule": "wsd", "warmup_steps": 3, "cooldown": 0, "ema": 0.5}
    short, prolonged, straight = (make_training(**settings, epochs=epochs) for epochs in (1, 2, 2))
    train(short, 4)
    save_checkpoint(tmp_path / "short", short)
    load_checkpoint(tmp_path / "short", prolonged)
    assert (short.status, prolonged.status, prolonged.step) == ("complete", "running", 4)
    for training in (prolonged, straight):
        training.train_to(8)
    assert prolonged.status == "complete"
    assert_equal_tensors(tensors_of(prolonged), tensors_of(straight))
    save_checkpoint(tmp_path / "long", straight)
    with pytest.raises(
        CheckpointError, match="of a longer run: 8 steps, more than the 4 that 1 epochs have before their cooldown"
    ):
        load_checkpoint(tmp_path / "long", make_training(**settings, epochs=1))


def test_a_cosine_is_not_prolonged(make_training: MakeTraining, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "short", make_training(epochs=1))
    with pytest.raises(CheckpointError, match="of another run: epochs = 1 there, 2 here"):
        load_checkpoint(tmp_path / "short", make_training(epochs=2))


def test_the_gradient_norm_is_reported_before_clipping(make_training: MakeTraining) -> None:
    free = make_training(grad_clip=None)
    clipped = make_training(grad_clip=1e-3)
    loose = make_training(grad_clip=1e6)
    reports = [train(training, 1) for training in (free, clipped, loose)]
    assert [report["clipped_share"] for report in reports] == [0, 1, 0]
    assert reports[0]["grad_norm"] == pytest.approx(reports[1]["grad_norm"])
    assert reports[0]["grad_norm"] > 1e-3


def test_sums_start_anew_after_each_report(make_training: MakeTraining) -> None:
    training, whole = make_training(), make_training()
    parts = [train(training, step)["train_loss"] for step in (1, 3, 8)]
    expected = (parts[0] + 2 * parts[1] + 5 * parts[2]) / 8
    assert train(whole)["train_loss"] == pytest.approx(expected)


def test_windows_are_the_means_of_a_few_steps(make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    single = make_training()
    train(single)
    assert [window.step for window in single.windows] == [*range(1, 9)]
    monkeypatch.setattr("trainable.train.training.WINDOWS_PER_EPOCH", 2)
    training = make_training()
    windows = []
    for step in (3, 8):  # a report within a window ends it
        report = train(training, step)
        windows += training.windows
        mean = np.average([window.train_loss for window in training.windows],
                          weights=[window.steps for window in training.windows])  # fmt: skip
        assert report["train_loss"] == pytest.approx(mean)
    assert [(window.step, window.steps) for window in windows] == [(2, 2), (3, 1), (4, 1), (6, 2), (8, 2)]
    losses = [window.train_loss for window in single.windows]
    assert [window.train_loss for window in windows] == pytest.approx(
        [np.mean(losses[window.step - window.steps : window.step]) for window in windows]
    )
    training.collect()
    assert training.windows == []


def test_the_rate_is_of_clips_and_counts_the_waiting(make_training: MakeTraining) -> None:
    training = make_training()
    training.train_to(STEPS)
    report = training.collect()
    assert report["clips_per_second"] == pytest.approx(STEPS * 8 / report["training"])
    assert 0 < report["waiting"] < report["training"]
    assert training.seconds == pytest.approx(report["training"], rel=0.01)


def test_a_training_that_diverges_says_so_and_stops(make_training: MakeTraining) -> None:
    training = make_training(lr=1e30, warmup=0, grad_clip=None, epochs=30)
    training.train_to(training.total_steps)
    assert training.status == "diverged"
    assert training.step == CHECK_EVERY
    before = training.step
    training.train_to(training.total_steps)
    assert training.step == before


def test_a_divergence_in_the_last_step_is_no_finish(make_training: MakeTraining) -> None:
    training = make_training()
    training.train_to(STEPS - 1)
    with torch.no_grad():
        training.model.predictor.project.bias.fill_(torch.nan)
    training.train_to(STEPS)
    assert training.status == "diverged"


def test_stop_ends_after_the_step_it_is_in(make_training: MakeTraining) -> None:
    training = make_training()

    def stop_in_third_step(*_: object) -> None:
        if training.step == 2:
            training.stop.set()

    training.model.register_forward_hook(stop_in_third_step)
    training.train_to(STEPS)
    assert (training.step, training.status) == (3, "running")
    training.stop.clear()
    training.train_to(STEPS)
    straight = make_training()
    straight.train_to(STEPS)
    assert_equal_tensors(tensors_of(training), tensors_of(straight))


def test_bfloat16_runs_under_autocast_with_float32_weights(make_training: MakeTraining) -> None:
    training, full = make_training(precision="bf16", epochs=6), make_training(precision="fp32", epochs=6)
    types = set()
    blocks: Any = training.model.student.blocks
    for block in blocks:
        block.attn.qkv.register_forward_hook(lambda _m, _i, output: types.add(output.dtype))
    first = train(training, 4)
    last = train(training, 24)
    assert types == {torch.bfloat16}
    assert {tensor.dtype for tensor in tensors_of(training).values()} == {torch.float32}
    assert last["train_loss"] < first["train_loss"]
    assert first["train_loss"] == pytest.approx(train(full, 4)["train_loss"], rel=0.02)


def test_auto_precision_is_float32_on_the_cpu(make_training: MakeTraining) -> None:
    assert train(make_training(precision="auto")) == train(make_training(precision="fp32"))


def test_pixels_can_be_the_target(make_training: MakeTraining, store: ClipStore) -> None:
    training = make_training(options={"target": "pixels"}, epochs=6, lr=3e-3)
    assert training.target_dim == store.view.token_values
    first = train(training, 4)
    assert train(training, 24)["train_loss"] < first["train_loss"]


def test_a_batch_larger_than_the_store_is_refused(store: ClipStore) -> None:
    with pytest.raises(ConfigError, match=r"^batch_size = 33: must not exceed the 32 training clips$"):
        Training(SMALL.replace(batch_size=33), store, device="cpu")


@pytest.mark.cuda  # on a CPU the C++ compiler takes most of a minute
@needs_cuda
def test_a_compiled_training_is_close_to_the_plain_one(make_training: MakeTraining) -> None:
    cuda = {"device": "cuda"}
    compiled, plain = make_training(options=cuda, compile=True), make_training(options=cuda)
    assert train(compiled)["train_loss"] == pytest.approx(train(plain)["train_loss"], rel=1e-2)
    assert tensors_of(compiled).keys() == tensors_of(plain).keys()


def test_each_training_of_a_process_is_compiled_once_for_its_own_shapes(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more of them than a function may have graphs; beyond that it would run uncompiled."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # what is traced is the same
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 2)
    counters.clear()
    for number, mask_ratio in enumerate((0.75, 0.5, 0.6, 0.8), start=1):
        training = make_training(compile=True, mask_ratio=mask_ratio, epochs=1)
        training.train_to(4)
        training.close()
        assert counters["stats"]["unique_graphs"] == number
    assert not counters["recompile_limit"] and not counters["graph_break"]


@pytest.mark.parametrize(("epochs", "steps"), [(0.01, 1), (0.5, 2), (1.3, 5), (2, 8), (3 / 4, 3)])
def test_schedules_stretch_over_fractions_of_an_epoch(make_training: MakeTraining, epochs: float, steps: int) -> None:
    training = make_training(epochs=epochs)
    report = train(training, 1000)
    assert (training.step, training.total_steps, training.status) == (steps, steps, "complete")
    assert report["lr"] == pytest.approx(training.config.floor_lr)


@pytest.mark.cuda
@needs_cuda
def test_training_on_cuda_learns_resumes_and_keeps_float32_weights(make_training: MakeTraining, tmp_path: Path) -> None:
    training = make_training(options={"device": "cuda"}, epochs=6, lr=3e-3)
    types = set()
    blocks: Any = training.model.student.blocks
    blocks[0].attn.qkv.register_forward_hook(lambda _m, _i, output: types.add(output.dtype))
    first = train(training, 4)
    save_checkpoint(tmp_path / "checkpoint", training)
    last = train(training, 24)
    assert last["train_loss"] < first["train_loss"]
    assert types == {torch.bfloat16}
    assert {tensor.dtype for tensor in tensors_of(training).values()} == {torch.float32}

    resumed = make_training(options={"device": "cuda"}, epochs=6, lr=3e-3)
    load_checkpoint(tmp_path / "checkpoint", resumed)
    assert train(resumed, 24)["train_loss"] == pytest.approx(last["train_loss"], rel=1e-2)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.1}, {"masking": "multiblock_both", "predict_share": 0.3, "context_weight": 0.5}], ids=str
)
def test_a_step_on_cuda_never_waits_for_the_device(make_training: MakeTraining, changes: dict[str, Any]) -> None:
    training = make_training(options={"device": "cuda"}, epochs=6, **changes)
    training.train_to(6)  # buffers, kernels and the optimiser's state are there now
    batches = [training._next_batch() for _ in range(1)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches * 3:
            training._train_step(batch)
            training._sums.close_window(training.step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert training.step == 9

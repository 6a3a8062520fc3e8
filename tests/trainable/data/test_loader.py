"""Batches hold what their masks say of the clips they name, and depend on nothing but seed and epoch."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from trainable.data.loader import PREFETCH, Batch, Loader
from trainable.data.store import ClipStore
from trainable.masking import Masks

MakeLoader = Callable[..., Loader]


@pytest.fixture
def make_loader(store: ClipStore) -> Iterator[MakeLoader]:
    made: list[Loader] = []

    def make(batch_size: int = 5, *, masking: Any = "multiblock", split: Any = "train", **options: Any) -> Loader:
        masks = masking and Masks(store.view, masking, 0.5, seed=7)
        made.append(Loader(store, store.clips(split), masks, batch_size, **options))
        return made[-1]

    yield make
    for loader in made:
        loader.close()


def kept(batches: Iterator[Batch]) -> list[Batch]:
    """The batches, copied: a loader uses its memory again."""
    return [Batch(batch.clips.copy(), *(tensor.cpu().clone() for tensor in batch.tensors())) for batch in batches]


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert [batch.clips.tolist() for batch in one] == [batch.clips.tolist() for batch in other]
    for batch, twin in zip(one, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch.tensors(), twin.tensors(), strict=True))


@pytest.mark.parametrize("target", ["latents", "pixels"])
@pytest.mark.parametrize("masking", ["multiblock", "random"])
def test_a_batch_holds_visible_pixels_and_masked_targets(
    make_loader: MakeLoader, store: ClipStore, masking: Any, target: Any
) -> None:
    for epoch in (0, 3):
        batches = kept(make_loader(masking=masking, target=target).training_epoch(1, epoch))
        assert len(batches) == 32 // 5
        for batch in batches:
            visible, masked = Masks(store.view, masking, 0.5, seed=7).draw(epoch, store.train.keys[batch.clips])
            assert (batch.visible.numpy() == visible).all()
            assert (batch.masked.numpy() == masked).all()
            assert batch.pixels.dtype == torch.uint8
            assert batch.targets.dtype == (torch.float16 if target == "latents" else torch.uint8)
            for row, clip in enumerate(batch.clips.tolist()):
                assert (batch.pixels[row].numpy() == store.row(store.train, clip, "pixels")[visible[row]]).all()
                assert (batch.targets[row].numpy() == store.row(store.train, clip, target)[masked[row]]).all()


def test_the_order_follows_from_seed_and_epoch_alone(make_loader: MakeLoader) -> None:
    first = kept(make_loader().training_epoch(1, 2))
    assert_same(first, kept(make_loader(threads=4).training_epoch(1, 2)))
    clips = np.concatenate([batch.clips for batch in first]).tolist()
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        assert (
            clips != np.concatenate([batch.clips for batch in kept(make_loader().training_epoch(seed, epoch))]).tolist()
        )


def test_an_epoch_shows_each_clip_once_and_drops_the_incomplete_batch(make_loader: MakeLoader) -> None:
    batches = kept(make_loader(5).training_epoch(0, 0))
    clips = np.concatenate([batch.clips for batch in batches]).tolist()
    assert len(clips) == len(set(clips)) == 30
    whole = np.concatenate([batch.clips for batch in kept(make_loader(8).training_epoch(0, 0))]).tolist()
    assert sorted(whole) == list(range(32))


@pytest.mark.parametrize("start", [0, 1, 5, 6])
def test_an_epoch_goes_on_in_the_middle(make_loader: MakeLoader, start: int) -> None:
    loader = make_loader()
    assert_same(kept(loader.training_epoch(1, 2, start=start)), kept(loader.training_epoch(1, 2))[start:])


def test_chosen_clips_come_in_order_and_all_of_them(make_loader: MakeLoader, store: ClipStore) -> None:
    chosen: npt.NDArray[np.int64] = np.array([3, 0, 15, 7, 8, 1, 2])
    batches = kept(make_loader(3, split="val").in_order(chosen))
    assert [len(batch.clips) for batch in batches] == [3, 3, 1]
    assert np.concatenate([batch.clips for batch in batches]).tolist() == chosen.tolist()
    assert [batch.pixels.shape[0] for batch in batches] == [3, 3, 1]
    assert (batches[2].targets[0].numpy() == store.row(store.val, 2, "latents")[batches[2].masked[0].numpy()]).all()


def test_without_masks_all_tokens_come_and_no_targets(make_loader: MakeLoader, store: ClipStore) -> None:
    batch = kept(make_loader(4, masking=None).in_order(np.arange(4)))[0]
    assert batch.pixels.shape == (4, store.view.tokens, store.view.token_values)
    assert (batch.pixels[3].numpy() == store.row(store.train, 3, "pixels")).all()
    assert batch.targets.numel() == batch.masked.numel() == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("threads", [1, 3])
def test_epochs_that_are_given_up_leave_the_loader_working(make_loader: MakeLoader, threads: int) -> None:
    loader = make_loader(2, threads=threads)
    for taken in list(range(PREFETCH + 3)) * 4:
        for _ in islice(loader.training_epoch(0, taken), taken):
            pass
    assert_same(kept(loader.training_epoch(0, 1)), kept(make_loader(2).training_epoch(0, 1)))


@pytest.mark.timeout(60)
def test_errors_while_gathering_reach_the_consumer_and_leave_the_loader_working(make_loader: MakeLoader) -> None:
    loader = make_loader(2)
    for _ in range(2 * PREFETCH):
        with pytest.raises(IndexError):
            list(loader.in_order(np.array([0, 1, 999, 2])))
    assert len(list(loader.in_order(np.arange(6)))) == 3


@pytest.mark.timeout(60)
def test_a_batch_stays_as_it_is_until_the_next_one_is_asked_for(make_loader: MakeLoader) -> None:
    loader = make_loader(2, threads=2)
    expected = kept(loader.training_epoch(0, 0))
    for batch, wanted in zip(loader.training_epoch(0, 0), expected, strict=True):
        loader._pool.submit(int).result()  # the threads have had their turn
        assert torch.equal(batch.pixels, wanted.pixels)
        assert torch.equal(batch.targets, wanted.targets)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_on_cuda_are_those_on_the_cpu(make_loader: MakeLoader, threads: int) -> None:
    loader = make_loader(2, device="cuda", threads=threads)
    for epoch in range(5):
        batches = []
        for batch in loader.training_epoch(0, epoch):
            assert batch.pixels.device.type == "cuda"
            torch.cuda._sleep(100_000)  # type: ignore[no-untyped-call]  # the consumer lags behind the transfers
            batches.append(Batch(batch.clips, *(tensor.clone() for tensor in batch.tensors())))
        assert_same(kept(iter(batches)), kept(make_loader(2).training_epoch(0, epoch)))


def test_a_second_iterator_is_refused_while_the_first_is_open(make_loader: MakeLoader) -> None:
    loader = make_loader()
    first = loader.training_epoch(0, 0)
    next(first)
    with pytest.raises(RuntimeError, match="one iterator at a time"):
        next(loader.training_epoch(0, 1))
    del first
    assert len(kept(loader.training_epoch(0, 1))) == 32 // 5

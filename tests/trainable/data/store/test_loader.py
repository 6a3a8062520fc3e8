"""Batches hold what their masks say of the clips they name, and depend on nothing but seed and epoch."""

import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.trainable.conftest import StoreOf
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.store.loader import PREFETCH, Batch, Loader
from trainable.errors import StoreError
from trainable.masking.masks import Masks
from trainable.masking.nearest import context_weights

MakeLoader = Callable[..., Loader]


@pytest.fixture
def make_loader(store: ClipStore) -> Iterator[MakeLoader]:
    made: list[Loader] = []

    def make(
        batch_size: int = 5,
        *,
        of: ClipStore = store,
        masking: Any = "multiblock",
        split: Any = "train",
        share: float = 1.0,
        **options: Any,
    ) -> Loader:
        masks = masking and Masks(of.view, masking, 0.5, seed=7, predict_share=share)
        made.append(Loader(of, of.clips(split), masks, batch_size, **options))
        return made[-1]

    yield make
    for loader in made:
        loader.close()


def kept(batches: Iterator[Batch]) -> list[Batch]:
    """The batches, copied: a loader uses its memory again."""
    return [Batch(batch.clips.copy(), *(tensor.cpu().clone() for tensor in batch.tensors())) for batch in batches]


def on_the_device(batch: Batch) -> Batch:
    """The batch, copied where it lies, without waiting for the device."""
    return Batch(batch.clips.copy(), *(tensor.clone() for tensor in batch.tensors()))


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
            drawn = Masks(store.view, masking, 0.5, seed=7).draw(epoch, store.train.keys[batch.clips])
            visible, masked = drawn.visible[:, 0], drawn.masked[:, 0]
            assert (batch.visible.numpy() == visible).all()
            assert (batch.masked.numpy() == masked).all()
            assert batch.pixels.dtype == torch.uint8
            assert batch.targets.dtype == (torch.float16 if target == "latents" else torch.uint8)
            for row, clip in enumerate(batch.clips.tolist()):
                pixels = store.pixels(store.train, clip)
                wanted = pixels if target == "pixels" else store.stored_latents(store.train, clip)[0]
                assert (batch.pixels[row].numpy() == pixels[visible[row]]).all()
                assert (batch.targets[row].numpy() == wanted[masked[row]]).all()
            assert batch.scales.numel() == batch.context_weights.numel() == 0


@pytest.mark.parametrize(("pixels", "latents"), [("raw", "float16"), ("jpeg", "int8")])
def test_each_mask_of_a_clip_is_a_row_with_what_it_leaves_visible(
    make_loader: MakeLoader, store_of: StoreOf, pixels: PixelFormat, latents: LatentFormat
) -> None:
    store = store_of(pixels, latents)
    alone: dict[int, list[int]] = {}
    views = store.train.views_at(2)
    for batch in make_loader(5, of=store, masking="multiblock").training_epoch(1, 2):
        alone |= {clip: batch.visible[row].tolist() for row, clip in enumerate(batch.clips.tolist())}
    for batch in make_loader(5, of=store, masking="multiblock_both").training_epoch(1, 2):
        assert (len(batch.clips), len(batch.visible), len(batch.targets)) == (5, 10, 10)
        for row in range(10):
            clip = int(batch.clips[row // 2])
            shown = store.pixels(store.train, clip, int(views[clip]))
            stored, scales = store.stored_latents(store.train, clip, int(views[clip]))
            visible, masked = batch.visible[row].numpy(), batch.masked[row].numpy()
            assert (visible.tolist() == alone[clip]) == (row % 2 == 0), "the first mask is the short-range one"
            assert (batch.pixels[row].numpy() == shown[visible]).all()
            assert (batch.targets[row].numpy() == stored[masked]).all()
            assert scales is None or (batch.scales[row].numpy() == scales[masked]).all()


def test_the_last_batch_has_both_masks_of_its_clips(make_loader: MakeLoader) -> None:
    batches = kept(make_loader(3, masking="multiblock_both", split="val").in_order(np.arange(7)))
    assert [len(batch.pixels) for batch in batches] == [6, 6, 2]


@pytest.mark.parametrize("masking", ["multiblock", "multiblock_both"])
@pytest.mark.parametrize("latents", ["float16", "int8"])
def test_with_a_context_the_targets_of_visible_tokens_follow_with_their_weights(
    make_loader: MakeLoader, store_of: StoreOf, masking: str, latents: LatentFormat
) -> None:
    store = store_of("raw", latents)
    plain = kept(make_loader(4, of=store, masking=masking).training_epoch(1, 0))
    with_context = kept(make_loader(4, of=store, masking=masking, context=True).training_epoch(1, 0))
    for batch, twin in zip(with_context, plain, strict=True):
        count = twin.masked.shape[1]
        assert torch.equal(batch.visible, twin.visible) and torch.equal(batch.pixels, twin.pixels)
        assert torch.equal(batch.targets[:, :count], twin.targets)
        assert batch.targets.shape[1] == store.view.tokens
        assert batch.context_weights.numpy().tolist() == context_weights(twin.visible.numpy(), store.view.grid).tolist()
        for row in range(len(batch.targets)):
            clip = int(batch.clips[row * len(batch.clips) // len(batch.targets)])
            stored, scales = store.stored_latents(store.train, clip, int(store.train.views_at(0)[clip]))
            visible = batch.visible[row].numpy()
            assert (batch.targets[row, count:].numpy() == stored[visible]).all()
            assert scales is None or (batch.scales[row, count:].numpy() == scales[visible]).all()


def test_fewer_targets_are_gathered_where_a_share_is_predicted(make_loader: MakeLoader) -> None:
    plain = kept(make_loader(4).training_epoch(1, 0))
    for batch, twin in zip(kept(make_loader(4, share=0.25).training_epoch(1, 0)), plain, strict=True):
        assert torch.equal(batch.visible, twin.visible) and torch.equal(batch.pixels, twin.pixels)
        assert 4 * batch.masked.shape[1] == 4 * batch.targets.shape[1] == twin.masked.shape[1]
        for row in range(4):
            places = torch.searchsorted(twin.masked[row], batch.masked[row])
            assert torch.equal(twin.masked[row][places], batch.masked[row])
            assert torch.equal(twin.targets[row][places], batch.targets[row])


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
    assert (batches[2].targets[0].numpy() == store.latents(store.val, 2)[batches[2].masked[0].numpy()]).all()


def test_without_masks_all_tokens_come_and_no_targets(make_loader: MakeLoader, store: ClipStore) -> None:
    batch = kept(make_loader(4, masking=None).in_order(np.arange(4)))[0]
    assert batch.pixels.shape == (4, store.view.tokens, store.view.token_values)
    assert (batch.pixels[3].numpy() == store.pixels(store.train, 3)).all()
    assert batch.targets.numel() == batch.masked.numel() == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", [1, 3])
def test_epochs_that_are_given_up_leave_the_loader_working(make_loader: MakeLoader, threads: int) -> None:
    loader = make_loader(2, threads=threads)
    for taken in list(range(PREFETCH + 3)) * 4:
        for _ in islice(loader.training_epoch(0, taken), taken):
            pass
    assert_same(kept(loader.training_epoch(0, 1)), kept(make_loader(2).training_epoch(0, 1)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pixels", ["raw", "jpeg"])
def test_errors_while_gathering_reach_the_consumer_and_leave_the_loader_working(
    make_loader: MakeLoader, store_of: StoreOf, pixels: PixelFormat
) -> None:
    loader = make_loader(2, of=store_of(pixels, "float16"), threads=2)
    for _ in range(2 * PREFETCH):
        with pytest.raises(IndexError):
            list(loader.in_order(np.array([0, 1, 999, 2])))
    assert len(list(loader.in_order(np.arange(6)))) == 3


@pytest.mark.timeout(300)
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
            batches.append(on_the_device(batch))
        assert_same(kept(iter(batches)), kept(make_loader(2).training_epoch(0, epoch)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_transfers_from_pinned_memory_go_on_while_the_device_computes(make_loader: MakeLoader) -> None:
    loader = make_loader(2, device="cuda")
    buffer = loader._free.get()
    assert all(tensor.is_pinned() for tensor in buffer.batch.tensors() if tensor.numel())
    loader._free.put(buffer)
    batches = loader.training_epoch(0, 0)
    next(batches)
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # type: ignore[no-untyped-call]  # about a second
    computed = torch.cuda.current_stream().record_event()
    taken = [on_the_device(batch) for batch in islice(batches, 2 * PREFETCH)]
    assert loader._stream is not None
    loader._stream.synchronize()
    assert not computed.query()
    expected = kept(islice(make_loader(2).training_epoch(0, 0), 1, 1 + 2 * PREFETCH))
    assert_same(kept(iter(taken)), expected)


def test_a_second_iterator_is_refused_while_the_first_is_open(make_loader: MakeLoader) -> None:
    loader = make_loader()
    first = loader.training_epoch(0, 0)
    next(first)
    with pytest.raises(RuntimeError, match="one iterator at a time"):
        next(loader.training_epoch(0, 1))
    del first
    assert len(kept(loader.training_epoch(0, 1))) == 32 // 5


@pytest.mark.parametrize(("pixels", "latents"), [("raw", "float16"), ("jpeg", "int8"), ("none", "float16")])
def test_each_epoch_shows_another_view_with_the_targets_of_that_view(
    make_loader: MakeLoader, store_of: StoreOf, pixels: PixelFormat, latents: LatentFormat
) -> None:
    store = store_of(pixels, latents)
    loader, shown = make_loader(8, of=store), np.zeros((32, 3), dtype=int)
    for epoch in range(3):
        for batch in loader.training_epoch(1, epoch):
            for row, clip in enumerate(batch.clips.tolist()):
                visible, masked = batch.visible[row].numpy(), batch.masked[row].numpy()
                seen = batch.pixels[row].numpy()
                views = [(seen == store.pixels(store.train, clip, view)[visible]).all() for view in range(3)]
                assert sum(views) == 1, "no view, or views that cannot be told apart"
                view = views.index(True)
                shown[clip, view] += 1
                stored, scales = store.stored_latents(store.train, clip, view)
                assert batch.targets[row].numpy().dtype == stored.dtype
                assert (batch.targets[row].numpy() == stored[masked]).all()
                assert (batch.scales[row].numpy() == (np.empty(0) if scales is None else scales[masked])).all()
        assert (shown.sum(axis=1) == epoch + 1).all()
    assert (shown == 1).all(), "each view of each clip has its turn once in three epochs"


def test_pixels_as_targets_are_of_the_view_that_is_shown(make_loader: MakeLoader, store_of: StoreOf) -> None:
    store = store_of("jpeg", "float16")
    views = store.train.views_at(1)
    for batch in make_loader(8, of=store, target="pixels").training_epoch(0, 1):
        for row, clip in enumerate(batch.clips.tolist()):
            pixels = store.pixels(store.train, clip, int(views[clip]))
            assert (batch.pixels[row].numpy() == pixels[batch.visible[row].numpy()]).all()
            assert (batch.targets[row].numpy() == pixels[batch.masked[row].numpy()]).all()


@pytest.mark.parametrize("split", ["train", "val"])
def test_clips_in_order_show_the_centre_whatever_epoch_it_is(
    make_loader: MakeLoader, store_of: StoreOf, split: Any
) -> None:
    store = store_of("raw", "float16")
    clips, loader = store.clips(split), make_loader(4, of=store, split=split)
    for epoch in (1, 2):
        list(loader.training_epoch(0, epoch))
        for batch in loader.in_order(np.arange(10)):
            for row, clip in enumerate(batch.clips.tolist()):
                visible, masked = batch.visible[row].numpy(), batch.masked[row].numpy()
                assert (batch.pixels[row].numpy() == store.pixels(clips, clip)[visible]).all()
                assert (batch.targets[row].numpy() == store.latents(clips, clip)[masked]).all()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pixels", ["jpeg", "none"])
def test_decoding_in_several_threads_changes_nothing(
    make_loader: MakeLoader, store_of: StoreOf, pixels: PixelFormat
) -> None:
    one, more = (ClipStore.open(store_of(pixels, "float16").path) for _ in range(2))
    for epoch in (0, 1):
        expected = kept(make_loader(8, of=one, threads=1).training_epoch(3, epoch))
        assert_same(expected, kept(make_loader(8, of=more, threads=5).training_epoch(3, epoch)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("pixels", "part", "threads"),
    [("raw", "pixels", 1), ("raw", "latents", 1), ("jpeg", "pixels", 1), ("jpeg", "pixels", 4)],
)
def test_a_row_that_was_changed_stops_the_loader_with_its_name(
    make_loader: MakeLoader, store_of: StoreOf, tmp_path: Path, pixels: PixelFormat, part: str, threads: int
) -> None:
    path = shutil.copytree(store_of(pixels, "float16").path, tmp_path / "store")
    shard = np.load(path / f"train-00000.{part}.npy", mmap_mode="r+")
    shard.reshape(-1).view(np.uint8)[-1] ^= 1  # of the last view of the last clip
    shard.flush()
    store = ClipStore.open(path)
    last = int(np.argmax(store.train.rows))
    epochs = [epoch for epoch in range(3) if store.train.views_at(epoch)[last] == 2]
    loader = make_loader(8, of=store, threads=threads)
    for epoch in range(3):
        if epoch not in epochs:
            assert len(list(loader.training_epoch(0, epoch))) == 4
            continue
        with pytest.raises(StoreError) as caught:
            list(loader.training_epoch(0, epoch))
        message = str(caught.value)
        assert message.startswith(
            f"{path / f'train-00000.{part}.npy'}: clip {store.train.ids[last]!r}, view 2, row 95: "
        )
        assert f"prepare repair {path}" in message
    assert len(epochs) == 1

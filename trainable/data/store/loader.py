"""Batches from the memory-mapped store: visible pixels and wanted targets only, gathered by background threads.

Threads, not processes: gathering is memory copying, which releases the interpreter lock (so does decoding JPEGs and
videos), and nothing has to pass through /dev/shm. Pixels stay uint8 and latents float16 or int8 until they are on the
device. On CUDA the thread gathers into pinned buffers and starts the copy on a stream of its own. The transfer so
overlaps the previous step.
"""

import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from trainable import heartbeat
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import Clips
from trainable.masking.masks import Mask, Masks
from trainable.masking.nearest import context_weights

Target = Literal["latents", "pixels"]

PREFETCH = 3


@dataclass
class Batch:
    """Some clips on the device.

    Tensors have a row for each mask of a clip; the masks of a clip lie side by side.

    Attributes:
        clips: their positions in the split, shape (clips,).
        pixels: uint8, shape (rows, visible tokens, token values).
        targets: float16 or int8 latents, or uint8 pixels, of the tokens to predict, shape (rows, tokens, width): those
            of `masked`, then those of `visible` where the loader serves a context.
        visible: token indices, shape (rows, visible tokens).
        masked: indices of the masked tokens to predict, shape (rows, predicted tokens).
        scales: float32 scales of int8 latents, shape (rows, tokens to predict); width 0 with other targets.
        context_weights: float32 weights of the visible tokens' targets, see `trainable.masking.nearest`, shape (rows,
            visible tokens); width 0 without a context.
    """

    clips: npt.NDArray[np.int64]
    pixels: torch.Tensor
    targets: torch.Tensor
    visible: torch.Tensor
    masked: torch.Tensor
    scales: torch.Tensor
    context_weights: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Returns the tensors, in the order of the fields."""
        return self.pixels, self.targets, self.visible, self.masked, self.scales, self.context_weights

    def parts(self, clips: int) -> Iterator["Batch"]:
        """Yields parts of at most so many clips, in order."""
        rows = len(self.pixels) // len(self.clips)
        for begin in range(0, len(self.clips), clips):
            part = self.clips[begin : begin + clips]
            yield Batch(part, *(each[begin * rows : (begin + len(part)) * rows] for each in self.tensors()))


class _Buffer:
    """Host memory for one batch, used again and again: fresh memory for each batch would cost as much as the copy."""

    def __init__(self, loader: "Loader") -> None:
        view, masks = loader.store.view, loader.masks
        self._rows = masks.per_clip if masks else 1  # of a clip
        count = len(range(loader.batch_size)[loader.rows]) * self._rows
        visible, predicted = (masks.visible_tokens, masks.predicted_tokens) if masks else (view.tokens, 0)
        context = visible if loader.context else 0

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, pin_memory=loader.device.type == "cuda")

        int8 = loader.target == "latents" and loader.store.latent_format == "int8"
        dtype = torch.uint8 if loader.target == "pixels" else torch.int8 if int8 else torch.float16
        self.batch = Batch(
            clips=np.empty(0, np.int64),
            pixels=empty(count, visible, view.token_values, dtype=torch.uint8),
            targets=empty(count, predicted + context, loader.target_dim, dtype=dtype),
            visible=empty(count, visible, dtype=torch.int64),
            masked=empty(count, predicted, dtype=torch.int64),
            scales=empty(count, predicted + context if int8 else 0, dtype=torch.float32),
            context_weights=empty(count, context, dtype=torch.float32),
        )
        self.copied: torch.cuda.Event | None = None  # when the last transfer has read this memory

    def cut(self, clips: npt.NDArray[np.int64]) -> Batch:
        return Batch(clips, *(tensor[: len(clips) * self._rows] for tensor in self.batch.tensors()))


class Loader:
    """Serves batches of one split of a store.

    Args:
        store: the clip store.
        clips: the split to serve.
        masks: which tokens are visible and which are targets; None serves all tokens and no targets.
        batch_size: clips a batch.
        rows: which clips of each training batch are served, where several processes share it; all by default.
        target: what the targets are: the teacher's latents, or the pixels themselves (to train a pixel teacher).
        context: whether the visible tokens have targets too; not without masks.
        device: where batches go.
        threads: background threads that decode, where pixels are not stored raw; None: one a core.
    """

    def __init__(
        self,
        store: ClipStore,
        clips: Clips,
        masks: Masks | None,
        batch_size: int,
        *,
        rows: slice = slice(None),
        target: Target = "latents",
        context: bool = False,
        device: torch.device | str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.rows = rows
        self.store, self.clips, self.masks, self.batch_size, self.target = store, clips, masks, batch_size, target
        self.context = context
        self.device = torch.device(device)
        self.target_dim = store.view.token_values if target == "pixels" else store.teacher.dim
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._decoders: ThreadPoolExecutor | None = None
        if store.pixel_format != "raw":
            self._decoders = ThreadPoolExecutor(threads or os.cpu_count(), thread_name_prefix="decoder")
        self._serving = False
        self._free: queue.SimpleQueue[_Buffer] = queue.SimpleQueue()
        for _ in range(PREFETCH + 1):
            self._free.put(_Buffer(self))

    def close(self) -> None:
        """Ends the background threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._decoders is not None:
            self._decoders.shutdown(wait=True, cancel_futures=True)

    def training_epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of a training epoch: an order drawn from (seed, epoch), without the last incomplete batch.

        Each clip shows the view that is due in this epoch.

        Args:
            seed: seed of the order.
            epoch: which epoch, from 0; also decides the masks.
            start: batches to leave out at the start, where a run is resumed in the middle of an epoch.
        """
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(self.clips))
        steps = len(order) // self.batch_size
        groups = order[: steps * self.batch_size].reshape(steps, -1)[start:, self.rows]
        return self.batches(groups, epoch, self.clips.views_at(epoch))

    def in_order(self, chosen: npt.NDArray[np.int64]) -> Iterator[Batch]:
        """Yields centre crops of the `chosen` clips in order, under epoch 0's masks; the last batch may be smaller."""
        groups = np.split(chosen, range(self.batch_size, len(chosen), self.batch_size))
        return self.batches(groups, epoch=0, views=np.zeros(len(self.clips), np.int64))

    def batches(
        self, groups: Iterable[npt.NDArray[np.int64]], epoch: int, views: npt.NDArray[np.int64]
    ) -> Iterator[Batch]:
        """Yields the clips of each group as a batch; a batch holds until the next one is asked for.

        Args:
            groups: clips of each batch.
            epoch: decides the masks.
            views: the view that each clip of the split shows, shape (clips of the split,).

        Raises:
            RuntimeError: another iterator of this loader is still open; it holds the buffers.
        """
        if self._serving:
            raise RuntimeError("a loader serves one iterator at a time: close the other one first")
        self._serving = True
        waiting = iter(groups)
        pending: deque[Future[_Gathered]] = deque()
        try:
            while True:
                while len(pending) < PREFETCH and (group := next(waiting, None)) is not None:
                    pending.append(self._pool.submit(self._gather, group, epoch, views[group]))
                if not pending:
                    return
                gathered = pending.popleft().result()
                heartbeat.beat()
                try:
                    yield self._received(gathered)
                finally:  # also where the consumer stops here
                    self._give_back(gathered)
        finally:
            self._serving = False
            for future in pending:
                if not future.cancel() and future.exception() is None:
                    self._give_back(future.result())

    def _gather(self, group: npt.NDArray[np.int64], epoch: int, views: npt.NDArray[np.int64]) -> "_Gathered":
        """Runs in a thread: fills a buffer and, on CUDA, starts its transfer."""
        buffer = self._free.get()
        try:
            return self._fill(buffer, group, epoch, views)
        except BaseException:
            self._free.put(buffer)
            raise

    def _fill(
        self, buffer: _Buffer, group: npt.NDArray[np.int64], epoch: int, views: npt.NDArray[np.int64]
    ) -> "_Gathered":
        if buffer.copied is not None:
            buffer.copied.synchronize()
        batch = buffer.cut(group)
        mask = self.masks.draw(epoch, self.clips.keys[group]) if self.masks else None
        if mask is not None:
            batch.visible.numpy()[:] = mask.visible.reshape(batch.visible.shape)
            batch.masked.numpy()[:] = mask.masked.reshape(batch.masked.shape)
        if mask is not None and self.context:
            batch.context_weights.numpy()[:] = context_weights(batch.visible.numpy(), self.store.view.grid)
        rows = range(len(group))
        if self._decoders is None:
            for row in rows:
                self._fill_row(batch, row, int(views[row]), mask)
        else:
            filled = [self._decoders.submit(self._fill_row, batch, row, int(views[row]), mask) for row in rows]
            wait(filled)  # all of them, so that after an error nothing writes into the buffer any more
            for row_filled in filled:
                row_filled.result()
        if self._stream is None:
            return _Gathered(batch, buffer)
        with torch.cuda.stream(self._stream):
            moved = Batch(group, *(tensor.to(self.device, non_blocking=True) for tensor in batch.tensors()))
            copied = buffer.copied = self._stream.record_event()
        self._free.put(buffer)
        return _Gathered(moved, None, copied)

    def _fill_row(self, batch: Batch, row: int, view: int, mask: Mask | None) -> None:
        clip = int(batch.clips[row])
        pixels = self.store.pixels(self.clips, clip, view)
        if mask is None:
            batch.pixels[row].numpy()[:] = pixels
            return
        visible, asked = mask.visible[row], mask.masked[row]
        if self.context:
            asked = np.concatenate([asked, visible], axis=1)
        own = slice(row * len(visible), (row + 1) * len(visible))
        # mode="clip" lets numpy write straight into `out`; the indices are in range anyway.
        np.take(pixels, visible, axis=0, out=batch.pixels[own].numpy(), mode="clip")
        targets, scales = (
            (pixels, None) if self.target == "pixels" else self.store.stored_latents(self.clips, clip, view)
        )
        np.take(targets, asked, axis=0, out=batch.targets[own].numpy(), mode="clip")
        if scales is not None:
            np.take(scales, asked, axis=0, out=batch.scales[own].numpy(), mode="clip")

    def _received(self, gathered: "_Gathered") -> Batch:
        """Makes the compute stream wait for the transfer of this batch, without making the host wait."""
        if gathered.copied is not None:
            compute = torch.cuda.current_stream(self.device)
            compute.wait_event(gathered.copied)
            for tensor in gathered.batch.tensors():
                tensor.record_stream(compute)
        return gathered.batch

    def _give_back(self, gathered: "_Gathered") -> None:
        if gathered.buffer is not None:
            self._free.put(gathered.buffer)


@dataclass
class _Gathered:
    """A batch as a thread leaves it: in `buffer` on the host, or on the device once `copied` has passed."""

    batch: Batch
    buffer: _Buffer | None
    copied: torch.cuda.Event | None = None

"""`python -m salt_tune.prepare inspect STORE`: what a clip store holds, in words and in pictures."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from rich.table import Table

from analysis.plots.clips import Floats, holding, spectrum
from analysis.plots.store import SHARE
from analysis.text import printable, shortened
from salt_tune.stores import BASELINES
from salt_tune.stores.pictures import FOLDER, draw_pictures
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size
from trainable.data.build.copies import repeated
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import DRAW, draw_clips
from trainable.data.store.groups import sides_of
from trainable.data.video.grouping import in_words
from trainable.evaluate.baselines import BASELINE_NAMES, baseline_losses
from trainable.evaluate.config import EvaluationConfig
from trainable.hashing import uniforms

DIGITS = 12  # shown of a hash
TOP_CLASSES, CLASS_LETTERS = 5, 60
NAMED_SKIPPED = 10
SAMPLED_CLIPS, SAMPLED_TOKENS = 256, 64  # held-out latents that the spectrum is of


def inspect_store(path: Path) -> None:
    """Prints what the store in folder `path` holds, and draws pictures of it into `path`/inspect.

    Raises:
        UserError: no store there, an unfinished or a damaged one, or a video that is gone.
        OSError: the pictures cannot be written.
    """
    from salt_tune.stores.teacher_panel import say_teacher_panel  # loads torch

    store = ClipStore.open(path)
    tokens = sample_latents(store)
    shares = spectrum(tokens)
    console.print(f"{store.path}")
    for name, fact in chain(_contents(store), _formats(store), _latents(store, tokens, shares)):
        console.print(f"  {name:<9} {fact}")
    console.print()
    _print_baselines(store)
    console.print()
    say_teacher_panel(store)
    console.print()
    for file in draw_pictures(store, shares):
        console.print(f"Wrote {file}")


def sample_latents(store: ClipStore) -> Floats:
    """Returns held-out latents, the same at every call: up to 64 tokens of up to 256 clips, shape (tokens, width)."""
    chosen = draw_clips(store.val, SAMPLED_CLIPS, seed=0)
    draws = uniforms(0, DRAW, store.val.keys[chosen], store.view.tokens)
    tokens = np.sort(np.argsort(draws, axis=1, kind="stable")[:, :SAMPLED_TOKENS], axis=1)
    rows = [store.latents(store.val, int(clip))[these] for clip, these in zip(chosen, tokens, strict=True)]
    return np.concatenate(rows).astype(np.float64)


def bytes_by_part(store: ClipStore) -> dict[str, int]:
    """Counts the bytes on disk of the pixels, the latents with scales, the teacher, and all else that clips need."""
    sizes = dict.fromkeys(("pixels", "latents", "teacher", "index and manifest"), 0)
    parts = {"pixels.npy": "pixels", "latents.npy": "latents", "scales.npy": "latents"}
    for file in store.path.rglob("*"):
        folder, _, ending = file.relative_to(store.path).parts[0], *file.name.partition(".")[1:]
        if file.is_file() and folder not in (FOLDER, BASELINES):
            part = "teacher" if folder == "teacher" else parts.get(ending, "index and manifest")
            sizes[part] += file.stat().st_size
    return sizes


def _contents(store: ClipStore) -> Iterator[tuple[str, str]]:
    views = f", {store.view.views} views of each training clip" if store.view.views > 1 else ""
    yield "clips", f"{len(store.train):,} training, {len(store.val):,} held-out{views}"
    counts = Counter(np.concatenate([store.train.labels, store.val.labels]).tolist())
    top = [
        f"{shortened(printable(store.labels[index]), CLASS_LETTERS)} {count:,}"
        for index, count in counts.most_common(TOP_CLASSES)
    ]
    more = f", and {len(counts) - len(top)} more" if len(counts) > len(top) else ""
    yield "classes", f"{len(store.labels)}: {', '.join(top)}{more}"
    if (rule := store.manifest["plan"].get("group_by")) is not None:
        sides = list(sides_of(store).values())
        yield "groups", f"{len(sides):,} {in_words(rule)}, {sides.count('val'):,} of them held out"
    if copies := repeated(store):
        torn = sum(clips.torn for clips in copies)
        yield "copies", f"of {len(copies):,}, {torn:,} on both sides of the split; first {copies[0]}"
    yield "skipped", _skipped(store.manifest["skipped"])
    sizes = bytes_by_part(store)
    each = (sizes["pixels"] + sizes["latents"]) / (len(store.train) + len(store.val))
    parts = ", ".join(f"{name} {byte_size(size)}" for name, size in sizes.items() if size)
    yield "on disk", f"{byte_size(sum(sizes.values()))}: {parts}; {byte_size(each)} a clip"


def _skipped(clips: list[dict[str, str]]) -> str:
    if not clips:
        return "no clip"
    named = [f"{clip['id']} ({clip['reason']})" for clip in clips[:NAMED_SKIPPED]]
    more = f"; and {len(clips) - len(named)} more, all in manifest.json" if len(clips) > len(named) else ""
    return f"{len(clips):,}: {'; '.join(named)}{more}"


def _formats(store: ClipStore) -> Iterator[tuple[str, str]]:
    view, teacher, said = store.view, store.teacher, store.manifest["latents"]
    slots, rows, columns = view.grid
    geometry = f"{view.frames} frames of {view.size} x {view.size}, patch {view.patch}, tubelet {view.tubelet}"
    flips = f", flips {view.flips}" if view.views > 1 else ""
    yield "view", f"{geometry}: {view.tokens:,} tokens ({slots} x {rows} x {columns}){flips}; hash {view.hash[:DIGITS]}"
    yield "pixels", store.pixel_format + (f": decoded from {store.videos}" if store.pixel_format == "none" else "")
    lost = ""
    if store.latent_format == "int8":
        lost = f", relative error {said['relative_error']:.2%}, adds {said['val_loss_added']:.2g} to val_loss"
    yield "latents", f"{store.latent_format}, {teacher.dim} wide{lost}"
    weights, known = f"{teacher.name} {teacher.sha256[:DIGITS]}", store.manifest["teacher"].get("val_r2")
    explains = "" if known is None else f", val_r2 {known:.3f} on held-out pixels"
    yield "teacher", f"{weights}, target norm {teacher.target_norm}, view {said['view']}{explains}"


def _latents(store: ClipStore, tokens: Floats, shares: Floats) -> Iterator[tuple[str, str]]:
    from trainable.evaluate.rank import rank_of  # loads torch

    mean, variance = store.teacher.mean, store.teacher.variance
    yield "mean", f"{mean.min():.3g} to {mean.max():.3g} over the dimensions of the training latents"
    held = f"{holding(variance, SHARE)} of {len(variance)} dimensions hold {SHARE:.0%} of it"
    directions = f"as do {holding(shares, SHARE)} principal directions"
    yield "variance", f"{variance.min():.3g} to {variance.max():.3g}; {held}, {directions}"
    rank = rank_of(tokens)
    yield "rank", f"effective rank {rank:.1f} of {tokens.shape[1]}, of {len(tokens):,} held-out tokens"


def _print_baselines(store: ClipStore) -> None:
    config = EvaluationConfig()
    clips = min(config.clips, len(store.val))
    with console.status(f"reading {clips:,} held-out clips"):
        baselines = baseline_losses(store, config)
    console.print(f"What to beat, on {clips:,} held-out clips, {config.mask_ratio:.0%} masked, {config.masking}:")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("without learning")
    for name in ("val_loss", "val_r2"):
        table.add_column(name, justify="right")
    for name, loss in baselines.to_dict().items():
        r2 = 1 - loss / baselines.training_mean if baselines.training_mean else 0.0
        table.add_row(BASELINE_NAMES[name], f"{loss:.4f}", f"{r2:.3f}")
    console.print(table)

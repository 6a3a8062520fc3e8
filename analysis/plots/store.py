"""The pictures of a clip store: what its clips look like, how its latents are spread, how its teacher learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.palette import STATE_COLOURS
from analysis.plots.clips import Floats, ShownClip, as_picture, holding
from analysis.plots.style import GUIDE, INK, MUTED, drawn, figure, label, style

COLOUR = STATE_COLOURS["complete"]
CAPTION_LETTERS = 62  # of 8 points, across half a contact sheet
HEADING_LETTERS = 104  # of 10.5 points, across a whole one
SHARE = 0.9


def contact_sheet(title: str, clips: Sequence[ShownClip], views_title: str, views: Sequence[ShownClip]) -> Figure:
    """Draws clips in two columns: frames above the same frames behind a mask, and below them further views of one.

    Args:
        title: what the rows are.
        clips: with masks.
        views_title: whose views follow.
        views: further views, without masks; may be empty.
    """
    rows, more = -(-len(clips) // 2), -(-len(views) // 2)
    whole = figure(10.4, 2.75 * rows + (1.5 * more + 0.45 if views else 0) + 0.45)
    parts = whole.subfigures(2 if views else 1, 1, squeeze=False, height_ratios=[2.75 * rows + 0.45, 1.5 * more + 0.45]
                             if views else None)[:, 0]  # fmt: skip
    for part, heading, shown, count in zip(parts, (title, views_title), (clips, views), (rows, more), strict=False):
        part.suptitle(drawn(heading, HEADING_LETTERS), x=0.01, ha="left", fontsize=10.5, fontweight="bold", color=INK)
        panels = part.subplots(count, 2, squeeze=False)
        for ax in panels.flat:
            ax.set_axis_off()
        for ax, clip in zip(panels.flat, shown, strict=False):
            ax.imshow(as_picture(clip), interpolation="antialiased")
            ax.set_title(drawn(clip.caption, CAPTION_LETTERS), loc="left", fontsize=8, color=INK, pad=4)
    return whole


def latents(mean: Floats, variance: Floats, shares: Floats) -> Figure:
    """Draws mean and variance of the latents per dimension, sorted, and the spectrum of their principal directions.

    Args:
        mean: of the training latents, shape (width,).
        variance: of the training latents, shape (width,).
        shares: of the variance, of each principal direction, falling; shape (width,).
    """
    whole = figure(11.0, 3.5)
    left, middle, right = whole.subplots(1, 3)
    _fall(left, np.sort(mean)[::-1])
    left.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    style(left, f"Mean: {mean.min():.2g} to {mean.max():.2g}", "dimension, sorted", "mean of the training latents")
    _fall(middle, np.sort(variance)[::-1])
    middle.set_ylim(bottom=0)
    _mark_share(middle, variance, at_top=True)
    title = f"Variance: {variance.min():.2g} to {variance.max():.2g}"
    style(middle, title, "dimension, sorted", "variance of the training latents")
    _fall(right, 100 * np.cumsum(shares))
    right.set_ylim(0, 104)
    _mark_share(right, shares, at_top=False)
    style(right, "Variance along principal directions", "principal directions, largest first", "% of variance, summed")
    return whole


def teacher(curve: Mapping[str, Sequence[float]]) -> Figure:
    """Draws how a pixel teacher learned: `val_loss` and `val_r2` against `epoch`."""
    whole = figure(8.4, 3.4)
    title = "How the pixel teacher learned: its student and predictor on held-out pixels"
    whole.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    for ax, name in zip(whole.subplots(1, 2), ("val_loss", "val_r2"), strict=True):
        epochs, values = curve["epoch"], curve[name]
        ax.plot(epochs, values, color=COLOUR, linewidth=1.8, marker="o", markersize=4)
        ax.margins(y=0.18)
        ax.set_xlim(0, epochs[-1] * 1.08)
        ax.annotate(f"{values[-1]:.3g}", (epochs[-1], values[-1]), xytext=(0, 8), textcoords="offset points",
                    ha="center", fontsize=8.5, fontweight="bold", color=COLOUR)  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style(ax, x="epoch", y=label(name))
    return whole


def _fall(ax: Axes, values: Floats) -> None:
    ax.plot(np.arange(1, len(values) + 1), values, color=COLOUR, linewidth=1.8)
    ax.set_xlim(0, len(values) + 1)


def _mark_share(ax: Axes, variances: Floats, *, at_top: bool) -> None:
    """Says how many of the largest hold most of the variance."""
    count = holding(variances, SHARE)
    ax.axvline(count, color=GUIDE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    left = count > len(variances) / 2
    ax.annotate(
        f"{count} of {len(variances)}\nhold {SHARE:.0%}", (count, 0.95 if at_top else 0.06),
        xycoords=ax.get_xaxis_transform(), xytext=(-5 if left else 5, 0), textcoords="offset points",
        ha="right" if left else "left", va="top" if at_top else "bottom", fontsize=8, color=MUTED,
    )  # fmt: skip

"""The pictures of a clip store: what its clips look like, how its latents are spread, how its teacher learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.palette import STATE_COLOURS
from analysis.plots.clips import Floats, ShownClip, as_picture, holding
from analysis.plots.style import GUIDE, INK, drawn, figure, label, style

COLOUR = STATE_COLOURS["complete"]
CAPTION_LETTERS = 62  # of 8 points, across half a contact sheet
HEADING_LETTERS = 104  # of 10.5 points, across a whole one
SHARE = 0.9
HALF_WIDTH = 4.9  # inches that the frames of a clip take on a contact sheet


def contact_sheet(title: str, clips: Sequence[ShownClip], views_title: str, views: Sequence[ShownClip]) -> Figure:
    """Draws clips in two columns: frames above the same frames behind a mask, and below them further views of one.

    Args:
        title: what the rows are.
        clips: with masks.
        views_title: whose views follow.
        views: further views, without masks; may be empty.
    """
    rows, more = -(-len(clips) // 2), -(-len(views) // 2)
    frame = HALF_WIDTH / len(clips[0].frames)
    heights = [(2 * frame + 0.3) * rows + 0.45, (frame + 0.3) * more + 0.45][: 2 if views else 1]
    whole = figure(10.4, sum(heights))
    parts = whole.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, heading, shown, count in zip(parts, (title, views_title), (clips, views), (rows, more), strict=False):
        part.suptitle(drawn(heading, HEADING_LETTERS), x=0.01, ha="left", fontsize=10.5, fontweight="bold", color=INK)
        panels = part.subplots(count, 2, squeeze=False)
        for ax in panels.flat:
            ax.set_axis_off()
        for ax, clip in zip(panels.flat, shown, strict=False):
            ax.imshow(as_picture(clip), interpolation="antialiased")
            ax.set_title(drawn(clip.caption, CAPTION_LETTERS), loc="left", fontsize=8, color=INK, pad=4)
    return whole


def latents(shares: Floats) -> Figure:
    """Draws how much of the latents' variance their largest principal directions hold; no basis changes that.

    Args:
        shares: of the variance, of each principal direction, falling; shape (width,).
    """
    whole = figure(7.2, 3.5)
    ax = whole.subplots()
    ax.plot(np.arange(1, len(shares) + 1), 100 * np.cumsum(shares), color=COLOUR, linewidth=1.8)
    ax.set(xlim=(0, len(shares) + 1), ylim=(0, 104))
    count = holding(shares, SHARE)
    ax.axvline(count, color=GUIDE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    title = f"{count} of {len(shares)} principal directions hold {SHARE:.0%} of the variance"
    style(ax, title, "principal directions, largest first", "% of variance, summed")
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

"""How the plots look: colours that colour-blind readers tell apart, labels, and as few lines as will do."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from analysis.text import escape, printable, shortened

INK = "#222222"
MUTED = "#6B6B6B"
GUIDE = "#AAAAAA"
FAINT = "#E2E2E2"

NAME_LETTERS = 24  # of a trial or of a value, at an axis or beside a curve
TITLE_LETTERS = 90  # of 11 points in bold, across a plot

LABELS = {"val_loss": "held-out loss", "val_r2": "held-out explained variance"}


def drawn(text: str, letters: int = 120) -> str:
    """Returns a name as matplotlib is given it: drawn letter by letter, never as a formula, and without a warning.

    Args:
        text: may hold anything. What the fonts of `rcParams["font.family"]` have no glyph for is drawn as its code.
        letters: how many are drawn at most.
    """
    glyphs = _glyphs(tuple(rcParams["font.family"]))
    shown = "".join(letter if ord(letter) in glyphs else escape(letter) for letter in printable(text))
    return shortened(shown, letters).replace("$", r"\$")


@cache
def _glyphs(families: tuple[str, ...]) -> frozenset[int]:
    """Returns the characters that can be drawn in one of these fonts, upright and bold."""
    upright, bold = (
        frozenset().union(
            *(get_font(findfont(FontProperties(family=[name], weight=weight))).get_charmap() for name in families)
        )
        for weight in ("normal", "bold")
    )
    return upright & bold


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure of that size in inches, outside pyplot, so that it need not be closed."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def style(ax: Axes, title: str = "", x: str = "", y: str = "", grid: Literal["x", "y"] = "y") -> None:
    """Strips `ax` to what carries information; `grid` is the axis that values are read from."""
    ax.set_title(drawn(title, TITLE_LETTERS), loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    ax.set_xlabel(drawn(x), fontsize=9, color=MUTED)
    ax.set_ylabel(drawn(y), fontsize=9, color=MUTED)
    ax.tick_params(which="both", labelsize=8.5, colors=MUTED, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    ax.grid(axis=grid, color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)


def label(column: str) -> str:
    """Returns what an axis calls a column or a unit."""
    return LABELS.get(column, column.replace("_", " "))


def named_rows(ax: Axes, names: Sequence[str], bold: str | None = None) -> None:
    """Names the rows 0, 1, ... of `ax` from the top down, one of them in bold."""
    ax.set_yticks(range(len(names)), [drawn(name, NAME_LETTERS) for name in names])
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        tick.set(color=INK, fontweight="bold" if name == bold else "normal")

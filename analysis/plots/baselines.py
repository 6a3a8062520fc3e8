"""Lines that say what a value is worth: what predictors and encoders that learned nothing reach."""

from matplotlib.axes import Axes

from analysis.palette import BASELINE_COLOUR
from analysis.plots.style import spread

COLOUR = BASELINE_COLOUR
FONT_SIZE = 8
LINE_HEIGHT = 1.35 * FONT_SIZE  # in points
NEAR = 0.35  # of the data's range: a baseline further off would squash the data, and is named at the edge instead
ROW = 0.8  # of a row of the ranking: what a label above the first takes
ROOM = 0.25  # share of the width that a label beside an upright line takes


def widened(limits: tuple[float, float], baselines: dict[str, float], data: bool) -> tuple[float, float]:
    """Returns the limits of an axis, wide enough for the baselines near them; without data, those of the baselines.

    Args:
        limits: of the data, the lower first.
        baselines: see `analysis.tables.baselines.baselines_of`.
        data: whether there is any.
    """
    if not baselines:
        return limits
    low, high = limits if data else (min(baselines.values()), max(baselines.values()))
    reach = NEAR * (high - low)
    near = [value for value in baselines.values() if low - reach <= value <= high + reach]
    margin = 0.05 * (high - low) or 0.05
    return min([low, *(value - margin for value in near)]), max([high, *(value + margin for value in near)])


def draw_level(ax: Axes, baselines: dict[str, float], *, named: bool = True) -> None:
    """Draws baselines as level lines, named to the right of `ax`; those beyond its limits are named at the edge."""
    low, high = ax.get_ylim()
    places = {name: (value - low) / (high - low) for name, value in baselines.items()}
    for name, place in places.items():
        if 0 <= place <= 1:
            ax.axhline(baselines[name], color=COLOUR, linewidth=0.8, zorder=1.5)
    if not named:
        return
    # Roughly: the layout is settled when the figure is drawn.
    points = 72 * ax.get_window_extent().height / ax.figure.dpi
    heights = _within([min(max(place, 0.0), 1.0) for place in places.values()], LINE_HEIGHT / points)
    for (name, place), height in zip(places.items(), heights, strict=True):
        ax.annotate(
            _named(name, baselines[name], place, "↓↑"), (1, height), xycoords="axes fraction", xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=FONT_SIZE, color=COLOUR,
        )  # fmt: skip


def draw_upright(ax: Axes, baselines: dict[str, float]) -> None:
    """Draws baselines as upright lines through rows that run downwards, each named in a row of its own above them."""
    low, high = ax.get_xlim()
    bottom, top = ax.get_ylim()
    places = {name: (value - low) / (high - low) for name, value in baselines.items()}
    # Named towards the wider side, the line farthest on the other side highest: no name lies on another's line.
    to_the_left = sum(places.values()) > 0.5 * len(places)
    rows = sorted(places, key=places.__getitem__, reverse=not to_the_left)
    for row, name in enumerate(rows, start=1):
        value, place, height = baselines[name], places[name], top - ROW * row
        if 0 <= place <= 1:
            ax.plot([value, value], [bottom, height], color=COLOUR, linewidth=0.8, zorder=1.5)
        left = place > (ROOM if to_the_left else 1 - ROOM)
        ax.annotate(
            _named(name, value, place, "←→"), (min(max(value, low), high), height), xytext=(-5 if left else 5, 0),
            textcoords="offset points", ha="right" if left else "left", va="center", fontsize=FONT_SIZE, color=COLOUR,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    ax.set_ylim(bottom, top - ROW * (len(baselines) + 0.5) if baselines else top)


def _named(name: str, value: float, place: float, arrows: str) -> str:
    """Returns the label of a baseline, with an arrow where it lies beyond the limits, which are 0 and 1."""
    arrow = "" if 0 <= place <= 1 else f"{arrows[int(place > 1)]} "
    return f"{arrow}{name} {value:#.3g}"


def _within(falling: list[float], gap: float) -> list[float]:
    """Moves heights between 0 and 1, given the highest first, until they lie at least `gap` apart."""
    rising = spread(falling[::-1], gap)
    return [-height for height in spread([-min(height, 1.0) for height in rising[::-1]], gap)]

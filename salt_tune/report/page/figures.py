"""The charts of a page: Vega-Lite specifications, and the data that they share."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

import altair as alt

from analysis.errors import RunError

Size = Literal["wide", "half", "small"]

# What a chart takes from the page: its colours follow light and dark without being drawn again.
CONFIG: Final[dict[str, Any]] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,  # the figure around it says what it shows
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 150,
        "labelOverlap": True,
        "tickCount": {"signal": "ceil(width / 90)"},
    },
    "axisY": {"tickCount": 6},
    "legend": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "columns": {"signal": "max(1, floor(width / 85))"},
    },
    "text": {"color": "var(--ink)"},
    "rule": {"color": "var(--muted)"},
}


@dataclass(frozen=True)
class Figure:
    """A chart on a page.

    Attributes:
        id: of its element.
        title: what stands above it.
        description: what a screen reader says of it.
        size: "wide", "half" or "small": its share of a row of a large screen.
        height: pixels, before it is drawn.
    """

    id: str
    title: str
    description: str
    size: Size
    height: int


@dataclass
class Figures:
    """The charts of one page, as they are added.

    Attributes:
        specs: by id of the element.
        datasets: by name, each once, whatever charts share it.
        problems: lines that say which charts could not be drawn, and why.
    """

    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, draw: Callable[[], Any], size: Size = "wide") -> list[Figure]:
        """Draws a chart, or several; none where there is nothing to draw, or a file of the run is damaged.

        Args:
            name: of the element, without a space; unique in the page.
            draw: gives the chart, a list of them, or None.
            size: see `Figure`.
        """
        try:
            drawn = draw()
        except RunError as error:
            self.problems.append(str(error))
            return []
        charts = [chart for chart in (drawn if isinstance(drawn, list) else [drawn]) if chart is not None]
        return [self._add(f"{name}-{number}", chart, size) for number, chart in enumerate(charts)]

    def _add(self, identity: str, chart: Any, size: Size) -> Figure:
        with alt.data_transformers.enable("default", max_rows=None, consolidate_datasets=True):
            spec: dict[str, Any] = chart.to_dict(validate=False)  # which the tests do
        self.datasets |= spec.pop("datasets", {})
        title, description = " ".join(spec.pop("title")["text"]), spec.pop("description")
        spec.pop("config", None)
        self.specs[identity] = spec
        height = spec.get("height", 300)
        return Figure(identity, title, description, size, height if isinstance(height, int) else 300)

    def payload(self) -> dict[str, Any]:
        """Returns what the page's script draws from."""
        return {"config": CONFIG, "datasets": dict(self._compact()), "specs": self.specs}

    def _compact(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Rounds numbers to seven digits: more cannot be seen, and takes half of a large page."""
        for name, rows in self.datasets.items():
            yield name, [{key: _rounded(value) for key, value in row.items()} for row in rows]


def _rounded(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


@cache
def script() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script, which asks no network for anything."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def as_json(content: Any) -> str:
    """Returns JSON that can stand in a script element, whatever names are in it."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

"""A chart as a page of its own, for what shows HTML and knows no Vega."""

import json
from typing import Any, Final

from analysis.charts.base import fixed

PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><div id="chart"></div><script>{script}</script>
<script>vegaEmbed("#chart", {spec}, {{actions: false}});</script></body></html>
"""


def to_html(chart: Any, title: str, width: int = 900) -> str:
    """Returns a page that draws a chart, and asks no network for anything; about 1 MB.

    Args:
        chart: of this package.
        title: of the page, plain words.
        width: of the drawn area in pixels.
    """
    import vl_convert  # takes its time, and most charts do without

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    spec = json.dumps(fixed(chart, width).to_dict()).replace("<", "\\u003c")  # a name may be that of an element
    return PAGE.format(title=title, script=script, spec=spec)

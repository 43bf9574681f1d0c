"""Charts as SVG inside the page: a Vega-Lite spec drawn by vl_convert in this process, with colours that follow the page's theme."""

import json
import re
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

FORMATS: dict[str, Any] = {"en": "en-US", "ja": "ja-JP"}
LARGE = 576  # pixels (36 rem in tanuki.css): wider charts scroll on a phone rather than shrink until nobody can read them
SERIES = [f"var(--chart-{n})" for n in range(1, 7)]  # defined in tanuki.css for light and dark
INK, QUIET, GRID = "var(--ink)", "var(--muted)", "var(--line)"
CONFIG: dict[str, Any] = {
    "background": None,
    "aria": False,
    "font": "sans-serif",
    "mark": {"color": SERIES[0]},
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 500,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": QUIET,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "orient": "top",
        "title": None,
    },
    "header": {"labelColor": INK, "titleColor": QUIET, "labelFontSize": 13},
    "title": {"color": INK, "fontSize": 14, "anchor": "start"},
    "text": {"color": INK},
    "rule": {"color": QUIET},
    "range": {"category": SERIES},
}


def chart(spec: dict[str, Any], lang: str) -> Markup:
    """An inline SVG of a Vega-Lite spec. Its `description` is what a screen reader says, so it must have one.

    Data are in the spec: nothing is ever fetched. Colours may be CSS variables, `var(--accent)`.
    """
    return Markup(drawn(json.dumps(spec, sort_keys=True, default=str), lang))  # noqa: S704 vega escapes what it draws


@lru_cache(maxsize=256)
def drawn(spec: str, lang: str) -> str:
    """The SVG of a spec as JSON text; the same spec is drawn once."""
    import vl_convert

    wanted = json.loads(spec)
    label = wanted.pop("description")
    written: dict[str, Any] = {"format_locale": FORMATS[lang], "time_format_locale": FORMATS[lang]}
    svg = vl_convert.vegalite_to_svg(
        wanted, config=CONFIG, allowed_base_urls=[], show_warnings=False, **written
    )
    width = re.search(r' width="([0-9.]+)"', svg)
    kind = "chart large" if width and float(width[1]) > LARGE else "chart"
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    svg = svg.replace('class="marks"', f'class="{kind}"', 1).replace('font-family="sans-serif"', "")
    return f'<div class="chart-box">{svg}</div>'

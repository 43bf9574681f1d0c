"""Charts: Vega-Lite specs as SVG inside the page, in the colours of its theme."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

FORMATS: dict[str, Any] = {"en": "en-US", "ja": "ja-JP"}
CHARTS_KEPT = 512
CHART_WIDTHS = {"narrow": 310, "medium": 600, "wide": 1120}  # pixels; tanuki.css picks by the box
LEGEND_COLUMN_WIDTH = 140  # pixels for one entry of a legend
SERIES_COLOURS = [f"var(--chart-{number})" for number in range(1, 7)]  # tanuki.css: light and dark
INNER_ROLES = re.compile(r' (?:role="graphics-[a-z]+"|aria-roledescription="[^"]*")')
INK, MUTED, LINE = "var(--ink)", "var(--muted)", "var(--line)"
CONFIG: dict[str, Any] = {
    "background": None,
    # left: browsers' fonts may be wider than the one that Vega measures
    "padding": {"left": 24, "top": 8, "right": 12, "bottom": 8},
    "aria": False,
    "font": "sans-serif",
    "mark": {"color": SERIES_COLOURS[0]},
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": 500,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": MUTED,
        "labelFontSize": 13,
        "titleFontSize": 13,
        "labelLimit": 260,
        "orient": "top",
        "title": None,
    },
    "header": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 13},
    "title": {"color": INK, "fontSize": 14, "anchor": "start"},
    "text": {"color": INK},
    "rule": {"color": MUTED},
    "range": {"category": SERIES_COLOURS},
}


def render_chart(spec: Mapping[str, Any], lang: str) -> Markup:
    """A Vega-Lite spec as inline SVG. Its `description`, for screen readers, is required.

    A spec without a width fills its box: it is rendered in several widths, and the style sheet
    shows the one that fits, so that labels stay legible on a phone. The data are in the spec:
    nothing is ever fetched. Colours may be CSS variables.
    """
    if "width" in spec:
        pictures = [render_svg(spec, lang, css_class="chart")]
    else:
        pictures = [
            render_svg({**spec, "width": width}, lang, css_class=f"chart chart-{name}")
            for name, width in CHART_WIDTHS.items()
        ]
    return Markup(f'<div class="chart-box">{"".join(pictures)}</div>')  # noqa: S704 Vega escapes


def render_svg(spec: Mapping[str, Any], lang: str, *, css_class: str = "chart") -> str:
    """One SVG of a Vega-Lite spec with a description, and a width unless it is concatenated."""
    return render_spec(json.dumps(spec, sort_keys=True, default=str), lang, css_class)


@lru_cache(maxsize=CHARTS_KEPT)
def render_spec(text: str, lang: str, css_class: str) -> str:
    import vl_convert

    spec = json.loads(text)
    label = spec.pop("description")
    config = CONFIG
    if "width" in spec:  # a concatenated chart has a width in each of its parts
        columns = max(1, spec["width"] // LEGEND_COLUMN_WIDTH)
        config = {**CONFIG, "legend": {**CONFIG["legend"], "columns": columns}}
    locale: dict[str, Any] = {"format_locale": FORMATS[lang], "time_format_locale": FORMATS[lang]}
    svg = vl_convert.vegalite_to_svg(
        spec, config=config, allowed_base_urls=[], show_warnings=False, **locale
    )
    svg = INNER_ROLES.sub("", svg)  # the whole picture is one image with one label
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    svg = svg.replace('class="marks"', f'class="{css_class}"', 1)
    return svg.replace('font-family="sans-serif"', "")

"""How a page and its charts look: colours for light and dark, and Vega-Lite's `config` made of them.

Charts name the page's colours as CSS variables, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from perfcheck.report.document import Tone

COLOURS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({
    "paper": ("#ffffff", "#0d1117"),
    "raised": ("#f6f8fa", "#151b23"),
    "line": ("#d1d9e0", "#3d444d"),
    "edge": ("#818b98", "#656c76"),
    "ink": ("#1f2328", "#f0f6fc"),
    "soft": ("#57606a", "#9ba4ae"),
    "link": ("#0757b8", "#6cb0ff"),
    "good": ("#116329", "#4ac26b"),
    "good-back": ("#e6f6ea", "#12261a"),
    "bad": ("#b3202a", "#ff8079"),
    "bad-back": ("#ffedec", "#301416"),
    "warning": ("#835500", "#e0a82e"),
    "warning-back": ("#fff6da", "#2b200c"),
    "info": ("#0757b8", "#6cb0ff"),
    "info-back": ("#e8f3ff", "#101f33"),
    "neutral": ("#57606a", "#9ba4ae"),
    "neutral-back": ("#f0f2f5", "#1d232b"),
    "series-1": ("#0072b2", "#58a6f0"),
    "series-2": ("#c9500a", "#ff9457"),
    "series-3": ("#00805c", "#35c79b"),
    "series-4": ("#a8448a", "#e79acb"),
    "series-5": ("#8a6d00", "#e8c547"),
    "series-6": ("#2b8cbe", "#9bd7f5"),
    "series-7": ("#5e4fa2", "#b7a9f0"),
    "series-8": ("#5f6872", "#b3bbc4"),
})  # fmt: skip
"""Colours by their names: on light paper, on dark. Series follow Okabe and Ito, apart for colour-blind readers."""

_CATEGORIES: Final = 8
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"


def paint(name: str) -> str:
    """Return how a chart's specification names one of COLOURS; KeyError for another name."""
    if name not in COLOURS:
        raise KeyError(name)
    return f"var(--{name})"


TONES: Final[Mapping[Tone, str]] = MappingProxyType({tone: paint(tone.value) for tone in Tone})
"""The colour of each tone in a chart."""
SERIES: Final = tuple(paint(f"series-{number}") for number in range(1, _CATEGORIES + 1))
"""The colours of a chart's series, in their order."""


def colour_rules() -> str:
    """Return the CSS that declares COLOURS: by the system, by the toggle, light on paper."""
    light, dark = ("".join(_declarations(which)) for which in (0, 1))
    return (
        f":root{{color-scheme:light;--font:{_FONT};{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f"@media print{{:root:root:root{{color-scheme:light;{light}}}}}\n"
    )


def _declarations(which: int) -> Iterator[str]:
    return (f"--{name}:{pair[which]};" for name, pair in COLOURS.items())


def config() -> dict[str, Any]:
    """Return the `config` of every chart."""
    text = {"labelColor": paint("soft"), "labelFontSize": 11, "titleColor": paint("soft"), "titleFontSize": 11,
            "titleFontWeight": 600}  # fmt: skip
    return {
        "background": None,
        "font": _FONT,
        "padding": 2,
        "view": {"stroke": None, "continuousHeight": 200, "discreteHeight": {"step": 24}},
        "axis": {**text, "domainColor": paint("edge"), "gridColor": paint("line"), "gridOpacity": 0.7,
                 "tickColor": paint("edge"), "tickSize": 4, "labelPadding": 4, "titlePadding": 8,
                 "labelOverlap": True, "labelSeparation": 6, "labelLimit": 160},
        "axisX": {"grid": False, "labelFlush": True},
        "axisY": {"domain": False, "ticks": False, "tickCount": 5},
        "legend": {**text, "orient": "bottom", "labelColor": paint("ink"), "symbolStrokeWidth": 2, "symbolSize": 70,
                   "rowPadding": 3, "columnPadding": 14},
        "header": {**text},
        "title": {"color": paint("ink"), "fontSize": 12, "fontWeight": 600, "anchor": "start"},
        "line": {"color": SERIES[0], "strokeWidth": 1.6, "strokeJoin": "round"},
        "trail": {"color": SERIES[0]},
        "area": {"color": SERIES[0], "fillOpacity": 1},
        "bar": {"color": SERIES[0]},
        "rect": {"color": SERIES[0]},
        "point": {"color": SERIES[0], "filled": True, "size": 36},
        "circle": {"color": SERIES[0]},
        "square": {"color": SERIES[0]},
        "tick": {"color": SERIES[0]},
        "errorbar": {"color": paint("ink")},
        "rule": {"color": paint("soft")},
        "text": {"color": paint("ink"), "fontSize": 11},
        "mark": {"color": SERIES[0]},
        "range": {"category": list(SERIES), "heatmap": {"scheme": "viridis"}, "ramp": {"scheme": "viridis"},
                  "diverging": {"scheme": "blueorange"}},
    }  # fmt: skip

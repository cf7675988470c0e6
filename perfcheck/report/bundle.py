"""The program that draws charts in a page: Vega, Vega-Lite and vega-embed as one text, made once and kept."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import Final

from perfcheck.system import kept_files

_EXPORTS: Final = "window.vegaEmbed = vegaEmbed;"


def script() -> str:
    """Return the bundle's JavaScript; making it takes seconds, so it is kept for each version of vl-convert."""
    place = kept_files.folder("report") / f"vega-{version('vl-convert-python')}.js"
    kept = kept_files.read(place)
    if kept is not None:
        return kept.decode()
    import vl_convert

    made: str = vl_convert.javascript_bundle(_EXPORTS)
    # A cache that cannot be written only costs time.
    with contextlib.suppress(OSError):
        kept_files.keep(place, made.encode(), mode=0o600)
    return made

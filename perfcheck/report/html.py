"""A document as one page of HTML that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from perfcheck.model.printable import printable_lines
from perfcheck.report import bundle, packing, theme, wrapping
from perfcheck.report.document import Document
from perfcheck.report.sound import require_sound

_PACKAGE: Final = "perfcheck.report"
_TEMPLATES: Final = "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """A script or style of the page, and what the page's policy knows it by."""

    text: Markup
    digest: str

    @classmethod
    def of(cls, text: str) -> _Program:
        """Take a text of perfcheck's own."""
        if "</s" in text:
            raise ValueError("a script or style would end within itself")
        return cls(text=_own(text), digest=_digest(text))


def render_html(document: Document) -> str:
    """Return the page; ValueError for a document that is not sound."""
    require_sound(document)
    charts = tuple(document.charts())
    style = _Program.of(theme.colour_rules() + _file("page.css"))
    scripts = [_Program.of(_file("page.js"))]
    drawing = bundle.script() if charts else ""
    if charts:
        scripts += [_Program.of(_file(name)) for name in ("reading.js", "charts.js")]
    return _environment().get_template("page.html").render(
        document=document, style=style, scripts=scripts, drawing=_own(packing.deflated(drawing)) if charts else "",
        policy=_own(_policy(style, scripts, drawing)), config=_own(packing.script_json(theme.config())),
        data=_own(packing.packed(charts)),
    )  # fmt: skip


def _own(text: str) -> Markup:
    """Return a text that is not escaped: one of perfcheck's own, or one in which markup is escaped already."""
    return Markup(text)  # noqa: S704


def _policy(style: _Program, scripts: list[_Program], drawing: str) -> str:
    """Return the page's Content-Security-Policy: what it has itself is known by its digest, and nothing else runs."""
    digests = [script.digest for script in scripts] + ([_digest(drawing)] if drawing else [])
    return "; ".join((
        "default-src 'none'", f"script-src {' '.join(digests)}", f"style-src {style.digest}", "img-src data:",
        "base-uri 'none'", "form-action 'none'",
    ))  # fmt: skip


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (resources.files(_PACKAGE) / _TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(_PACKAGE, _TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= {
        "wrapping": wrapping.wrapping, "interval": wrapping.interval, "number_class": wrapping.number_class,
    }  # fmt: skip
    return made


def _shown(value: Any) -> Any:
    """Return what a template is to escape: a text in which all characters show."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value

"""Where alerts go, as `--alert-output` says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from perfcheck.model.units import shown

AlertKind = Literal["file", "syslog", "webhook"]
_FORMS: Final = "file:PATH, syslog, or webhook:URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTarget:
    """One receiver of alerts; `where` is the path of a file or the URL of a webhook, and empty for syslog."""

    kind: AlertKind
    where: str = ""

    @classmethod
    def parse(cls, text: str) -> AlertTarget:
        """Parse `file:alerts.json`, `syslog`, `webhook:https://host/path`; ValueError says what was expected."""
        kind, _, where = text.partition(":")
        if text == "syslog":
            return cls(kind="syslog")
        if kind in {"http", "https"}:
            raise ValueError(f"write a webhook as webhook:{text[:60]}")
        if kind == "file" and where:
            if Path(where).is_dir():
                raise ValueError(f"{shown(where)} is a folder; add a file name")
            if not Path(where).parent.is_dir():
                raise ValueError(f"there is no folder {shown(str(Path(where).parent))}; make it first")
            return cls(kind="file", where=where)
        if kind == "webhook" and where:
            _check_url(where)
            return cls(kind="webhook", where=where)
        raise ValueError(f"expected {_FORMS}, got {shown(text)}")


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or " " in text:
        raise ValueError(f"expected a URL such as webhook:https://host:8080/alerts, got {shown(text)}")

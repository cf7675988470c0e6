"""Where alerts go: `file:PATH`, `syslog`, `webhook:URL`."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.model.printable import unprintable
from perfcheck.model.units import shown

_MOST_CHARACTERS: Final = 4096
_EXPECTED: Final = "expected file:PATH, syslog or webhook:URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTarget:
    """A file to which each alert is appended as a line of JSON."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogTarget:
    """The machine's log, behind a datagram socket."""

    path: Path = Path("/dev/log")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """An HTTP server that gets each alert as a POST. `path` has the query, and may be secret: `label` leaves it out."""

    host: str
    port: int
    path: str
    tls: bool
    kind: str = "webhook"

    @property
    def label(self) -> str:
        """The server, without the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.tls else 80)
        return f"{self.kind} {'https' if self.tls else 'http'}://{host}{'' if usual else f':{self.port}'}"


Target = FileTarget | SyslogTarget | WebhookTarget


def target_of(text: str) -> Target:
    """Parse a value of --alert-output; ValueError says what was expected."""
    if len(text) > _MOST_CHARACTERS or unprintable(text) is not None:
        raise ValueError(f"{_EXPECTED}, of printable characters and at most {_MOST_CHARACTERS} of them")
    kind, colon, rest = text.partition(":")
    if text == "syslog":
        return SyslogTarget()
    if kind == "file" and rest:
        return _file(Path(rest))
    if kind == "webhook" and rest:
        return server_of(rest, kind="webhook", expected="expected a URL such as webhook:https://host/path")
    if kind in ("file", "webhook"):
        raise ValueError(f"{kind}: lacks its {'path' if kind == 'file' else 'URL'}; {_EXPECTED}")
    if kind == "syslog" and colon:
        raise ValueError("syslog takes no value; write --alert-output syslog")
    hint = f"; for a webhook write webhook:{kind}:..." if kind in ("http", "https") else ""
    raise ValueError(f"{_EXPECTED}{hint or f', got {shown(text)}'}")


def _file(path: Path) -> FileTarget:
    if str(path) == "-":
        raise ValueError(f"'-' is no file here, since alerts are in the output, too; {_EXPECTED}")
    if path.is_dir():
        raise ValueError(f"{shown(str(path))} is a folder; add a file name")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {shown(str(path.parent))}; make it first")
    return FileTarget(path=path)


def server_of(url: str, *, kind: str, expected: str) -> WebhookTarget:
    """Parse a URL of HTTP; ValueError says what was expected."""
    if not url.isascii() or " " in url:
        raise ValueError(f"{expected}; write other characters than ASCII, and blanks, as %XX")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise ValueError(f"{expected}: {problem}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{expected}, or the same with http")
    if not parts.hostname:
        raise ValueError(f"{expected}: the host is missing")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{expected}: user and password in a URL are not sent; put a token into the path")
    if port == 0:
        raise ValueError(f"{expected}: port 0 cannot be connected to")
    tls = parts.scheme == "https"
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return WebhookTarget(host=parts.hostname, port=port or (443 if tls else 80), path=path, tls=tls, kind=kind)

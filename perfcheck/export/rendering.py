"""What a scraper gets: one of the formats that it accepts, made once for all scrapers of an interval."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from perfcheck.export.snapshot import Series, Snapshot
from perfcheck.export.text import openmetrics_text, prometheus_text

_FAST: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One form of an exposition; `parameters` are those that an Accept header must not contradict."""

    name: str
    media_type: str
    content_type: str
    parameters: tuple[tuple[str, tuple[str, ...]], ...] = ()


TEXT: Final = Format(
    name="text", media_type="text/plain", content_type="text/plain; version=0.0.4; charset=utf-8",
    parameters=(("version", ("0.0.4",)),),
)  # fmt: skip
OPENMETRICS: Final = Format(
    name="openmetrics", media_type="application/openmetrics-text",
    content_type="application/openmetrics-text; version=1.0.0; charset=utf-8",
    parameters=(("version", ("1.0.0", "0.0.1")),),
)  # fmt: skip
PROTOBUF: Final = Format(
    name="protobuf", media_type="application/vnd.google.protobuf",
    content_type="application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    parameters=(("proto", ("io.prometheus.client.MetricFamily",)), ("encoding", ("delimited",))),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent: the bytes and their Content-Type, compressed or not."""

    content: bytes
    content_type: str
    is_compressed: bool


class Rendered:
    """The exposition of one moment: each form is made when it is first asked for, and kept."""

    def __init__(self, snapshot: Snapshot, *, native: bool = False) -> None:
        """Take what is exported, and whether native histograms are wanted: then there is protobuf, too."""
        self._snapshot = snapshot
        self._offered = (TEXT, OPENMETRICS, PROTOBUF) if native else (TEXT, OPENMETRICS)
        self._lock = threading.Lock()
        self._made: dict[tuple[str, bool], bytes] = {}

    def body(self, accept: str = "", accept_encoding: str = "") -> Body:
        """Return what an HTTP client gets that sends these headers."""
        chosen = chosen_format(accept, self._offered)
        compressed = takes_gzip(accept_encoding)
        with self._lock:
            content = self._content(chosen, compressed=compressed)
        return Body(content=content, content_type=chosen.content_type, is_compressed=compressed)

    def _content(self, chosen: Format, *, compressed: bool) -> bytes:
        key = (chosen.name, compressed)
        if key not in self._made:
            self._made[key] = (
                gzip.compress(self._content(chosen, compressed=False), _FAST, mtime=0) if compressed
                else _RENDERERS[chosen.name](self._snapshot.series())
            )  # fmt: skip
        return self._made[key]


def _protobuf(series: Iterable[Series]) -> bytes:
    from perfcheck.export.protobuf import protobuf_bytes

    return protobuf_bytes(series)


_RENDERERS: Final[dict[str, Callable[[Iterable[Series]], bytes]]] = {
    TEXT.name: lambda series: prometheus_text(series).encode(),
    OPENMETRICS.name: lambda series: openmetrics_text(series).encode(),
    PROTOBUF.name: _protobuf,
}


def chosen_format(accept: str, offered: tuple[Format, ...]) -> Format:
    """Return the format that an Accept header likes best; the plain text where it names none that is offered."""
    best, liked = TEXT, 0.0
    for part in accept.split(","):
        media_type, _, rest = part.partition(";")
        parameters = dict(_parameters(rest))
        quality = _quality(parameters.pop("q", "1"))
        for one in offered:
            if one.media_type == media_type.strip().lower() and quality > liked and _fits(one, parameters):
                best, liked = one, quality
    return best


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header takes gzip."""
    for part in accept_encoding.split(","):
        name, _, rest = part.partition(";")
        if name.strip().lower() == "gzip":
            return _quality(dict(_parameters(rest)).get("q", "1")) > 0
    return False


def _fits(offered: Format, asked: dict[str, str]) -> bool:
    return all(asked.get(name, values[0]) in values for name, values in offered.parameters)


def _parameters(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip().lower(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0

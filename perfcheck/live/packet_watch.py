"""Follows packets of a live machine while a `with` block lasts: detail mode of the lab, with the filters of perfctl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from perfcheck.collect.detail.collector import DetailCollector
from perfcheck.errors import CollectError
from perfcheck.live.session import scope_of
from perfcheck.model.detail import DetailStream
from perfcheck.model.interval import LiveRequest
from perfcheck.system.clock import epoch_ns


class PacketWatch:
    """Detail mode attached to the request's namespaces; `stream` is there once `end` was called.

    Ends and protocols are filtered in the kernel; whose a socket is (process, cgroup, interface) is not known there.
    """

    def __init__(self, request: LiveRequest, budget_pct: float) -> None:
        """Attach nothing yet; `budget_pct` is the share of one CPU that following may take."""
        self._request = request
        self._budget_pct = budget_pct
        self._collector = DetailCollector(wanted=request.filter)
        self._stream: DetailStream | None = None
        self.warnings: Sequence[str] = ()
        self.epoch_ns = 0

    def __enter__(self) -> Self:
        """Attach and follow; Unavailable where that cannot be done here."""
        try:
            self._collector.open()
            scope = scope_of(self._request.netns)
            self._collector.begin(replace(scope, detail_budget_pct=self._budget_pct))
        except BaseException:
            self._collector.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Detach."""
        self._collector.close()

    def end(self) -> DetailStream:
        """Stop following, and return what was followed."""
        if self._stream is None:
            seen = self._collector.end()
            if seen.detail is None:
                raise CollectError("detail mode gave no packets")
            self._stream = seen.detail
            self.epoch_ns = epoch_ns()
            self.warnings = seen.warnings
        return self._stream

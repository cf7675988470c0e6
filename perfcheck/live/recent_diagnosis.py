"""The diagnosis of the last seconds while an alert is raised: a healthy machine pays nothing for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.live.alerts.alert import Alert, AlertState
from perfcheck.live.diagnosis import diagnosed
from perfcheck.model.causes import HEALTHY
from perfcheck.model.interval import Interval
from perfcheck.model.record import DiagnosisRecord
from perfcheck.output.rows import cause_text

WINDOW: Final = 5
"""Intervals that are judged together."""
AGAIN: Final = 5
"""Intervals between two judgements while an alert goes on: one takes some 50 ms of CPU time."""
_NAMED: Final = 2


class RecentDiagnosis:
    """Keeps the last intervals, and judges them when an alert is raised and again while it goes on."""

    def __init__(
        self, load: Callable[[], RuleSet] = lambda: load_rules(()), *, part: bool = False, every_s: float | None = None
    ) -> None:  # fmt: skip
        """Take what loads the rules, and whether only some flows are watched; rules are loaded when they are needed.

        `every_s`: judge so often without an alert, too, as long as there are connections.
        """
        self._part = part
        self._every_ns = None if every_s is None else round(every_s * 1e9)
        self._judged_ns: int | None = None
        self._latest: Sequence[DiagnosisRecord] | None = None
        self._load = load
        self._rules: RuleSet | None = None
        self._recent: deque[Interval] = deque(maxlen=WINDOW)
        self._since = 0

    def keep(self, interval: Interval) -> None:
        """Take an interval without judging it."""
        self._recent.append(interval)
        self._latest = None
        self._since += 1

    def of(self, interval: Interval, alerts: Sequence[Alert]) -> str:
        """Return the most probable causes on one line; "" where no alert asks for them."""
        self.keep(interval)
        raised = any(alert.state is AlertState.RAISED for alert in alerts)
        lasting = any(alert.state is AlertState.ONGOING for alert in alerts)
        if not raised and not (lasting and self._since >= AGAIN):
            if self._is_time(interval.end_ns):
                self._causes()
            return ""
        self._since = 0
        return ", ".join(cause_text(cause) for cause in self._causes()[:_NAMED] if cause.cause != HEALTHY)

    def latest(self) -> Mapping[str, float] | None:
        """Return the probability of each cause where the last interval was judged, else None."""
        return None if self._latest is None else {one.cause: one.confidence for one in self._latest}

    def _is_time(self, now_ns: int) -> bool:
        if self._every_ns is None or not any(len(one.flows) for one in self._recent):
            return False
        return self._judged_ns is None or now_ns - self._judged_ns >= self._every_ns

    @property
    def looks(self) -> int:
        """How many intervals are judged."""
        return len(self._recent)

    def at_the_end(self) -> str:
        """Return the most probable causes of the last intervals; "" where no connection was seen in them."""
        return ", ".join(map(cause_text, self.judged()[:_NAMED]))

    def judged(self) -> Sequence[DiagnosisRecord]:
        """Return all causes of the last intervals, the most probable first; nothing where no connection was seen."""
        return self._causes() if any(len(one.flows) for one in self._recent) else ()

    def _causes(self) -> Sequence[DiagnosisRecord]:
        if self._rules is None:
            self._rules = self._load()
        found = diagnosed(tuple(self._recent), self._rules, correlate=False, part=self._part).causes
        self._judged_ns, self._latest = self._recent[-1].end_ns, found
        return found

"""What is delivered, and how a delivery fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from perfcheck.live.alerts.alert import Alert, AlertState, alert_event
from perfcheck.model.printable import ascii_json, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """That an alert was raised or cleared: the same `key` for each attempt, `body` as one line of JSON, and a text."""

    key: str
    body: str
    text: str
    urgent: bool


def notice_of(alert: Alert, *, tool: str, epoch_ns: int, number: int) -> Notice:
    """Return what is told of an alert that was raised or cleared."""
    state = alert.state.value
    return Notice(
        key=f"{alert.id}-{state}",
        body=ascii_json(alert_event(alert, number).to_json(tool=tool, epoch_ns=epoch_ns)),
        text=printable(f"alert {state}: {alert.text}"),
        urgent=alert.state is not AlertState.CLEARED,
    )


MOST_SAID: Final = 200
"""Characters of a reason: what is no server of HTTP may answer anything, of any length."""


class NotDelivered(Exception):  # noqa: N818 - a state, and no defect
    """An attempt failed; `final`: another one would fail, too. The text says why."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        """Keep why; it may come from the other side and is made printable."""
        shown = printable(why)
        super().__init__(shown if len(shown) <= MOST_SAID else f"{shown[:MOST_SAID]}...")
        self.final = final


class Sender(Protocol):
    """Brings one notice to one target."""

    @property
    def label(self) -> str:
        """The target as messages name it, without secrets."""

    def send(self, notice: Notice, timeout_s: float) -> None:
        """Deliver within the time; NotDelivered says why it was not."""

"""POSTs alerts to an HTTP server as JSON."""

from __future__ import annotations

from perfcheck.live.delivery.notice import Notice
from perfcheck.live.delivery.post import Poster
from perfcheck.live.delivery.target import WebhookTarget


class WebhookSender:
    """One POST a notice."""

    def __init__(self, target: WebhookTarget) -> None:
        """Take the server."""
        self._target = target
        self._poster = Poster(target)

    @property
    def label(self) -> str:
        """The server."""
        return self._target.label

    def send(self, notice: Notice, timeout_s: float) -> None:
        """POST the notice and read the answer's status, all within the time."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.key}
        self._poster.post(notice.body.encode(), headers, timeout_s)

"""Brings alerts to files, the system's log and webhooks, beside measuring and never in its way."""

from perfcheck.live.delivery.deliveries import Deliveries, DeliveryReport
from perfcheck.live.delivery.notice import Notice
from perfcheck.live.delivery.target import FileTarget, SyslogTarget, Target, WebhookTarget, target_of

__all__ = [
    "Deliveries", "DeliveryReport", "FileTarget", "Notice", "SyslogTarget", "Target", "WebhookTarget", "target_of",
]  # fmt: skip

"""What a metric is asked of: the whole run or a subject of it, for the whole time or a phase.

A key is `<metric>[@<subject>][/<phase>]`. A subject is a traffic entry by its name (`rpc`), a host by its name
(`server`), or one direction of a link (`client>server`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DIAGNOSIS: Final = "diagnosis"
_KEY: Final = re.compile(r"(?P<metric>[^@/]+)(?:@(?P<subject>[^@/]+))?(?:/(?P<phase>[^@/]+))?")


class SubjectKind(StrEnum):
    """What a subject is."""

    TRAFFIC = "traffic"
    HOST = "host"
    DIRECTION = "direction"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricKey:
    """A metric, and what it is asked of: no subject is the whole run, no phase its whole time."""

    metric: str
    subject: str | None = None
    phase: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it is asked of the whole run and its whole time."""
        return self.subject is None and self.phase is None

    def __str__(self) -> str:
        """Return the key as files and records have it."""
        subject = "" if self.subject is None else f"@{self.subject}"
        phase = "" if self.phase is None else f"/{self.phase}"
        return f"{self.metric}{subject}{phase}"


def read_key(text: str) -> MetricKey:
    """Read a key; ValueError says what one looks like. Whether the parts exist is not asked here."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise ValueError(f"expected <metric>, <metric>@<subject> or <metric>@<subject>/<phase>, got {text!r}")
    return MetricKey(metric=match["metric"], subject=match["subject"], phase=match["phase"])


def is_diagnosis(key: str) -> bool:
    """Whether a key of `expect` is `diagnosis` or `diagnosis@<entry>`."""
    return key.partition("@")[0] == DIAGNOSIS


def direction_name(source: str, target: str) -> str:
    """Return the name of a link's direction, `client>server`."""
    return f"{source}>{target}"

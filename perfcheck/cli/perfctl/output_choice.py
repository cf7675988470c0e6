"""Where a command's results go, and where its intervals come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OutputFormat = Literal["console", "json", "prometheus", "influx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputChoice:
    """What the options of output say.

    `file` None: standard output. `recording` is the file of `--from`; None: the live machine. `prog` begins the
    command's own messages, e.g. `perfctl tcp`, and is the `tool` of its events.
    """

    prog: str
    format: OutputFormat = "console"
    file: Path | None = None
    recording: Path | None = None

"""What is told of long work on kernels while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told what begins, and how far it is."""

    def stage(self, text: str) -> None:
        """Take note that something begins, in a few words."""

    def share(self, done: float) -> None:
        """Take note of the share of the stage that is done, 0 to 1."""


class NoProgress:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Do nothing."""

    def share(self, done: float) -> None:
        """Do nothing."""

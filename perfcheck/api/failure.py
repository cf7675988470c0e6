"""What the public API raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfcheck.output.cases import Case


class PerformanceFailure(AssertionError):  # noqa: N818 - a failed assertion, no defect of a program
    """An assertion on a record failed; `cases` are those that did, and the text is that of a scenario file's."""

    def __init__(self, text: str, cases: Sequence[Case]) -> None:
        """Keep the cases beside the text."""
        super().__init__(text)
        self.cases = tuple(cases)

    @property
    def headline(self) -> str:
        """The failure in one line."""
        return str(self).partition("\n")[0]


class UnknownMetric(KeyError):  # noqa: N818 - a key that is not there
    """A name that no metric has; the text names the nearest one."""

    def __str__(self) -> str:
        """Return the text as it is: KeyError would quote it."""
        return str(self.args[0])

"""What the public API raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from perfcheck.errors import PerfcheckError

if TYPE_CHECKING:
    from perfcheck.output.cases import Case


class Caught(Protocol):
    """An exception as pytest holds it."""

    @property
    def value(self) -> BaseException:
        """The exception itself."""


def is_mistake(caught: Caught | None) -> bool:
    """Whether an exception tells of a mistake in the test.

    Modules of the API set `__tracebackhide__` to it, so that pytest shows the test's line and not perfcheck's own.
    """
    return caught is not None and isinstance(caught.value, PerfcheckError | UnknownMetric | TypeError)


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

"""Verdicts and the exit status that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """PASS and FAIL for an `expect` line; the others for a comparison or a whole run."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    REGRESSED = "REGRESSED"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    NO_BASELINE = "NO_BASELINE"

    @property
    def fails_a_build(self) -> bool:
        """Whether a build with this verdict must fail."""
        return self in (Verdict.FAIL, Verdict.REGRESSED)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of a whole run: the worst of its parts.

    A failure outranks INVALID here because a run is marked INVALID as a whole (and its parts are
    not judged) when its links or collectors could not be trusted. INCONCLUSIVE, NO_BASELINE and
    IMPROVED never fail a build, so a run that only has those passes.
    """
    seen = set(verdicts)
    if seen & {Verdict.FAIL, Verdict.REGRESSED}:
        return Verdict.REGRESSED if Verdict.FAIL not in seen else Verdict.FAIL
    if Verdict.INVALID in seen:
        return Verdict.INVALID
    return Verdict.PASS


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """Return the process's exit status: 1 a failure or regression, else 3 could not measure, else 0."""
    seen = set(verdicts)
    if any(verdict.fails_a_build for verdict in seen):
        return 1
    return 3 if Verdict.INVALID in seen else 0

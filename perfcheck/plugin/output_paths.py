"""Checks the paths that options name before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


def possible_report(path: Path | None, option: str) -> Path | None:
    """Return the path; pytest.UsageError, which names the option, where no report can be written there."""
    if path is None:
        return None
    from perfcheck.errors import UsageError
    from perfcheck.report.write import require_possible

    try:
        require_possible(path)
    except UsageError as error:
        raise pytest.UsageError(f"{option}: {error}") from None
    return path


def require_own_files(written: Mapping[str, Path | None]) -> None:
    """Raise pytest.UsageError where two options, by their names, write to one file, or one of them to `-`."""
    from perfcheck.errors import UsageError
    from perfcheck.system.apart import require_apart, require_files

    try:
        require_files(written)
        require_apart(written)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None

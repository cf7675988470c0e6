"""Whether the kernels that a session names are there: asked once, before anything is measured."""

from __future__ import annotations

from perfcheck.runner.placing import in_guests
from perfcheck.runner.sides import Side


def check_kernels(kernel: str | None, *sides: Side) -> None:
    """Raise UsageError for a kernel that the store lacks, and for a side that no guest can have."""
    if in_guests(kernel, *sides):
        # The kernel lab is imported only where it is needed.
        from perfcheck.runner.guests import check_guests

        check_guests(kernel, *sides)

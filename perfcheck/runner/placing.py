"""Whether something is measured in guests, and what a record says of that; imports nothing of the kernel lab."""

from __future__ import annotations

from typing import Final

from perfcheck.model.record import RunRecord
from perfcheck.runner.options import RunOptions
from perfcheck.runner.sides import Side

VIRTUALISATION: Final = "guest in {time} time"
"""What makes records of guests unlike those of machines, and those of the two kinds of time unlike one another."""
COUNTED: Final = (
    "measured in a guest whose time is counted instructions, on one CPU: caches, locks, memory bandwidth and several "
    "CPUs are not seen"
)


def in_guests(kernel: str | None, *sides: Side) -> bool:
    """Whether this is measured in guests: a kernel is named, or a side is of a kernel."""
    return kernel is not None or any(side.kind in ("kernel", "cmdline") for side in sides)


def in_guest(record: RunRecord, options: RunOptions) -> RunRecord:
    """Return a record with the kernel and the kind of time of its guest, and how it is measured there again."""
    environment = {
        **record.environment, "guest.kernel": str(options.kernel), "guest.time": options.time,
        "virtualisation": VIRTUALISATION.format(time=options.time),
    }  # fmt: skip
    update: dict[str, object] = {"environment": environment, "reproduce": f"{record.reproduce} {options.placing()}"}
    if record.trials and options.time == "virtual":
        update["warnings"] = tuple(sorted({*record.warnings, COUNTED}))
    return record.model_copy(update=update)

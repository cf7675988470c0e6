"""Where a load's instructions go, by function of the kernel: of one kernel, or of A beside B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

USER: Final = "user space"
CONTEXTS: Final = (USER, "system calls", "softirqs", "interrupts")
"""What the CPU was doing; all but the first are the kernel's."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CountRecord(_Part):
    """Instructions for one unit of work: of A (None where there is only one kernel), and of B or the one kernel.

    `noise` is what the figure moves by from layout to layout without any change.
    """

    a: float | None = None
    b: float
    noise: float = 0.0

    @property
    def change(self) -> float:
        """How much more B has; the whole figure where there is no A."""
        return self.b - (self.a or 0.0)

    @property
    def clear(self) -> bool:
        """Whether the change is beyond the noise."""
        return abs(self.change) > self.noise


class FunctionRecord(_Part):
    """One function of the kernel, or of its modules: its own instructions for one unit of work."""

    name: str
    modules: tuple[str, ...] = ()
    instructions: CountRecord


class PathProfile(_Part):
    """One load's profile: `unit` is what the counts are for, such as `request`.

    `contexts` tells user space, tasks in the kernel, softirqs and interrupts apart, by these names. `functions` begin
    with the one that changed most, and are not all of them: `left_out` is how many instructions are in the rest.
    """

    unit: str
    total: CountRecord
    contexts: Mapping[str, CountRecord] = Field(default_factory=dict)
    functions: tuple[FunctionRecord, ...] = ()
    left_out: CountRecord | None = None

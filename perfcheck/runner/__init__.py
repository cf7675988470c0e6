"""The only place where the stages meet: a scenario goes in, a RunRecord comes out.

Names are loaded at their first use: pytest's configuration may hold options, which are checked without a runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perfcheck.runner.options import RunOptions
    from perfcheck.runner.session import Runner

__all__ = ["RunOptions", "Runner"]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name == "RunOptions":
        from perfcheck.runner.options import RunOptions

        return RunOptions
    if name == "Runner":
        from perfcheck.runner.session import Runner

        return Runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

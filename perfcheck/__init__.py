"""perfcheck: performance regression and assertion harness for Linux networking.

For tests in Python: the fixture `perfcheck` (a `Perfcheck`), `Scenario`, and quantities with units such as
`ms(60)`. Names are loaded when they are asked for: `import perfcheck` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfcheck.version import VERSION

if TYPE_CHECKING:
    from perfcheck.api.comparison import Comparison
    from perfcheck.api.failure import PerformanceFailure, UnknownMetric
    from perfcheck.api.quantity import (
        Quantity,
        b,
        bit,
        gb,
        gbit,
        gib,
        kb,
        kbit,
        kib,
        mb,
        mbit,
        mib,
        minutes,
        ms,
        ns,
        pct,
        s,
        us,
    )
    from perfcheck.api.record import Measured, Record
    from perfcheck.api.scenario import Scenario
    from perfcheck.api.session import Perfcheck
    from perfcheck.errors import CouldNotMeasure, PerfcheckError, ScenarioError, UsageError

__version__ = VERSION

__all__ = [
    "Comparison", "CouldNotMeasure", "Measured", "Perfcheck", "PerfcheckError", "PerformanceFailure", "Quantity",
    "Record", "Scenario", "ScenarioError", "UnknownMetric", "UsageError", "b", "bit", "gb", "gbit", "gib", "kb",
    "kbit", "kib", "mb", "mbit", "mib", "minutes", "ms", "ns", "pct", "s", "us",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    homes = {
        "Comparison": "api.comparison", "PerformanceFailure": "api.failure", "UnknownMetric": "api.failure",
        "Measured": "api.record", "Record": "api.record", "Scenario": "api.scenario", "Perfcheck": "api.session",
        "CouldNotMeasure": "errors", "PerfcheckError": "errors", "ScenarioError": "errors", "UsageError": "errors",
    }  # fmt: skip
    found = getattr(importlib.import_module(f"perfcheck.{homes.get(name, 'api.quantity')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]

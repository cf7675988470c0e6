"""The modules that the running kernel has loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LIST: Final = Path("/proc/modules")


def loaded_modules(listed: Path = _LIST) -> frozenset[str]:
    """Return their names (proc(5), /proc/modules); none where the kernel cannot load any."""
    try:
        return frozenset(line.split(maxsplit=1)[0] for line in listed.read_text(encoding="ascii").splitlines())
    except OSError:
        return frozenset()

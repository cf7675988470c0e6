"""The shared libraries of a program, as the dynamic linker finds them on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError
from perfcheck.system import commands

_FOUND: Final = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING: Final = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)


def libraries_of(program: Path) -> tuple[Path, ...]:
    """Return the libraries and the dynamic linker of a program, none for a static one; LabError for a missing one."""
    done = commands.finish(commands.popen(["ldd", str(program)]), ["ldd", str(program)], timeout_s=10.0, error=LabError)
    text = done.stdout.decode(errors="replace")
    missing = _MISSING.search(text)
    if missing is not None:
        raise LabError(f"{program} cannot go into a guest: its library {missing[1]} is not installed")
    return tuple(Path(found) for found in _FOUND.findall(text))

"""Finds the distribution's `bcc` package, the BPF Compiler Collection, from inside a virtual environment.

The PyPI package of the same name is another project. So only the folders where distributions put their Python
packages are searched, and the package found there is checked.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from perfcheck.errors import Unavailable

PLACES: Final = (
    "/usr/lib/python3/dist-packages",
    f"/usr/lib/python3.{sys.version_info.minor}/site-packages",
    f"/usr/lib64/python3.{sys.version_info.minor}/site-packages",
)
FIX: Final = "apt-get install python3-bpfcc (the distribution's package)"


def find(places: Sequence[str] = PLACES) -> Path:
    """Return the folder of the BPF Compiler Collection's Python package; raise Unavailable where there is none."""
    for place in places:
        folder = Path(place) / "bcc"
        # Both are part of the real one only: its binding of libbcc, and the table library.
        if (folder / "libbcc.py").is_file() and (folder / "table.py").is_file():
            return folder
    raise Unavailable("BCC", f"the BPF Compiler Collection is not in {', '.join(places)}", FIX)


def load(places: Sequence[str] = PLACES) -> ModuleType:
    """Import the distribution's `bcc` and nothing else of its folder."""
    folder = find(places)
    spec = importlib.util.spec_from_file_location(
        "bcc", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise Unavailable("BCC", f"{folder} cannot be imported", FIX)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError) as error:
        del sys.modules["bcc"]
        raise Unavailable("BCC", f"{folder} does not load: {error}", FIX) from error
    if not hasattr(module, "BPF"):
        del sys.modules["bcc"]
        raise Unavailable("BCC", f"{folder} is another package: it has no BPF class", FIX)
    return module

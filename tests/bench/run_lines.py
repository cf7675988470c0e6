"""Lines of runs with known faults, one JSON object each: plain files, and compressed ones by their suffix `.xz`."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file; none where there is no file."""
    if not path.exists():
        return []
    text = lzma.decompress(path.read_bytes()).decode() if _compressed(path) else path.read_text(encoding="utf-8")
    return text.splitlines()


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one row; a compressed file gets a stream of its own for it, which readers join to the others."""
    line = json.dumps(row, separators=(",", ":")) + "\n"
    if _compressed(path):
        with lzma.open(path, "at", encoding="utf-8") as stream:
            stream.write(line)
    else:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line)


def _compressed(path: Path) -> bool:
    return path.suffix == ".xz"

"""Paths of baselines: one folder for each scenario, one file for each matrix point and environment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from perfcheck.errors import UsageError
from perfcheck.model.label import point_text, short_key
from perfcheck.system.environment import machine_digest

_LONGEST: Final = 100
_PLAIN: Final = re.compile(r"[A-Za-z0-9._=,+-]+")


def folder_of(root: Path, name: str | None) -> Path:
    """Return the folder of a set of baselines; a named one lies below `@NAME`, which no scenario can be called."""
    if name is None:
        return root
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise UsageError(f"--baseline-name: expected letters, digits, '.', '_' and '-', got {name!r}")
    return root / f"@{name}"


def stem_of(point: Mapping[str, str]) -> str:
    """Return the part of the file's name that stands for the matrix point, `base` without one."""
    if not point:
        return "base"
    short = {short_key(key): value for key, value in point.items()}
    text = point_text(short.items())
    if len(short) == len(point) and len(text) <= _LONGEST and _PLAIN.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", text)[:_LONGEST]
    return f"{readable}~{_digest(dict(point), 6)}"


def file_name(point: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return the file's name: like machines share the digits after `@`, the last six tell their software apart."""
    return f"{stem_of(point)}@{machine_digest(environment)[:8]}-{_digest(dict(environment), 6)}.yaml"


def flat(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return a fingerprint as a flat map of texts, nested names joined by dots, lists by commas."""
    found: dict[str, str] = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": text for inner, text in flat(value).items()}
        elif isinstance(value, (list, tuple, set, frozenset)):
            found[key] = ",".join(sorted(str(each) for each in value))
        elif value is not None:
            found[key] = str(value)
    return found


def _digest(value: Mapping[str, str], digits: int) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]

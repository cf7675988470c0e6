"""The version of perfcheck, apart from the package itself, which gives the public API."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"

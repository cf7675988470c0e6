"""Programs of Debian's prometheus package: without them tests are skipped, or fail where CI demands them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is not None:
        return found
    why = f"{name} is not installed: apt-get install prometheus"
    if os.environ.get("CI") or os.environ.get("PERFCHECK_REQUIRE_KERNEL") == "1":
        pytest.fail(why)
    pytest.skip(why)


def complaints(exposition: str) -> str:
    """Return what `promtool check metrics` says of a text in Prometheus' format; "" where there is nothing to mend."""
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=exposition, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    said = checked.stdout + checked.stderr
    return said or ("" if checked.returncode == 0 else f"exit status {checked.returncode}")

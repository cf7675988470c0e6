"""Tests that this machine's kernel may have to skip, in a guest whose kernel has what they need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from stored_kernel import stored_kernel

ROOT = Path(__file__).parents[2]
FILES = [f"tests/kernel/test_{name}.py" for name in ("collect_ip_ovs", "collect_ip_times", "collect_ip_conntrack")]
DEMANDED = ("PERFCHECK_REQUIRE_KERNEL=1", "PERFCHECK_REQUIRE_ALL=1")


def test_ovs_connection_tracking_and_the_times_of_functions() -> None:
    kernel = stored_kernel()
    pytest_in_guest = ("env", *DEMANDED, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short")
    argv = [sys.executable, "tests/vm/guest.py", "--kernel", kernel.name, "--modules", "openvswitch", "nft_ct", "--"]
    done = subprocess.run([*argv, *pytest_in_guest, *FILES], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE), done.stdout

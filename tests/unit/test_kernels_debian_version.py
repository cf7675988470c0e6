"""Versions of Debian's packages: the newest is the one that dpkg takes for it."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from perfcheck.kernels.debian_version import version_key

VERSIONS = [
    "6.1.0-1",
    "6.1.0-1~bpo12+1",
    "6.1-1",
    "6.1.10-1",
    "6.1.9-1",
    "1:6.0-1",
    "6.1.0~rc1-1",
    "6.1.0",
    "6.1.0-0",
    "6.1.0-1+b1",
    "6.1.0a-1",
    "6.1.0+1-1",
    "6.1.01-1",
    "6.1.0-1~",
    "6.1.0--1",
    "6.12.117-1~deb12u1",
]


def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    for one in VERSIONS:
        for other in VERSIONS:
            argv = ["dpkg", "--compare-versions", one, "lt", other]
            less = subprocess.run(argv, check=False, capture_output=True).returncode == 0
            assert (version_key(one) < version_key(other)) == less, (one, other)


@given(st.text("0129.~+-a:", max_size=12), st.text("0129.~+-a:", max_size=12))
def test_any_two_versions_can_be_compared(one: str, other: str) -> None:
    assert sum((version_key(one) < version_key(other), version_key(other) < version_key(one),
                version_key(one) == version_key(other))) == 1  # fmt: skip

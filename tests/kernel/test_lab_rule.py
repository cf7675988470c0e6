"""Kernel tests are skipped without privileges, and fail where CI demands them."""

from __future__ import annotations

import pytest

from perfcheck.errors import Unavailable
from perfcheck.system import checks


def lacking() -> None:
    raise Unavailable("privileges", "CAP_NET_ADMIN missing", "run as root")


def test_every_test_here_is_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("kernel") is not None


@pytest.mark.parametrize("demanded", [False, True])
def test_without_privileges_it_is_skipped_or_failed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, demanded: bool
) -> None:
    monkeypatch.setattr(checks, "require_privileges", lacking)
    monkeypatch.setenv("PERFCHECK_REQUIRE_KERNEL", "1" if demanded else "")
    outcome = pytest.fail.Exception if demanded else pytest.skip.Exception
    with pytest.raises(outcome, match="CAP_NET_ADMIN missing"):
        request.node.ihook.pytest_runtest_setup(item=request.node)

"""The line for virtme-ng: its options, what it boots, and that each word stays one."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.scenario import Scenario
from perfcheck.runner.virtme import virtme_line
from perfcheck.testing import make_scenario

RELEASE = "6.12.117+deb12-amd64"


def scenario(file: str = "scenarios/cost/bulk.yaml", **fields: Any) -> Scenario:
    load = {"load": {"from": "client", "to": "server", "kind": "stream", "count": 64, "size": "1kb"}}
    links = [{"between": ["client", "server"]}]
    return make_scenario(name="cost-bulk", traffic=[load], links=links, **fields).model_copy(update={"file": file})


@pytest.mark.parametrize(
    ("origin", "booted"),
    [
        ("built tree /home/kim/src/linux", "/home/kim/src/linux"),
        ("image /boot/vmlinuz-6.12.117+deb12-amd64", "/boot/vmlinuz-6.12.117+deb12-amd64"),
        ("package linux-image-6.12.117+deb12-amd64 6.12.117-1", RELEASE),
        ("Debian bookworm-security", RELEASE),
        ("", RELEASE),
    ],
)
def test_it_boots_what_vng_can_find(origin: str, booted: str) -> None:
    line = virtme_line(scenario(measure={"mode": "cost"}), origin=origin, release=RELEASE)
    assert line == (
        f"vng --run {booted} --memory 4G -- perfcheck run scenarios/cost/bulk.yaml --mode summary"
    )  # fmt: skip


def test_debians_cloud_kernels_do_not_boot_there() -> None:
    assert virtme_line(scenario(), origin="", release="6.12.117+deb12-cloud-amd64") == ""


def test_other_modes_and_points_are_kept() -> None:
    one = scenario(point=(("server.congestion", "bbr"),))
    line = virtme_line(one, origin="", release=RELEASE, program="/opt/venv/bin/perfcheck")
    assert line.endswith("-- /opt/venv/bin/perfcheck run scenarios/cost/bulk.yaml --select 'cost-bulk[congestion=bbr]'")


words = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1)


@given(st.lists(words), words)
def test_a_shell_gives_back_each_word(command_line: list[str], file: str) -> None:
    line = virtme_line(scenario(f"a b/{file}.yaml"), origin="", release=RELEASE, command_line=command_line)
    found = shlex.split(line)
    end = found.index("--")
    assert [word.removeprefix("--append=") for word in found[5:end]] == command_line
    assert found[end + 1 :] == ["perfcheck", "run", f"a b/{file}.yaml"]

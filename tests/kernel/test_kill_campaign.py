"""A short form of tests/bench/kill_campaign.py: nothing is left of runs that are killed at random moments."""

from __future__ import annotations

import random

import pytest
from killing import Killing
from leftovers import KINDS


@pytest.mark.parametrize(
    ("command", "how", "cure"),
    [
        ("run", "kill -9", "clean"), ("run", "kill -9", "next start"), ("pytest", "kill -9", "clean"),
        ("pytest", "kill -9", "next start"), ("ab", "kill -9", "clean"), ("run", "Ctrl-C twice", "nothing"),
        ("confirm", "kill -9", "next start"), ("confirm", "SIGINT", "nothing"),
    ],
)  # fmt: skip
def test_nothing_is_left_of_a_run_that_is_ended_at_a_random_moment(
    command: str, how: str, cure: str, killing: Killing
) -> None:
    ended = killing.once(command, how, cure, random.Random(f"{command} {how} {cure}"))  # noqa: S311
    assert not ended.left


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Killing:
    """Return one folder for all, so that each command's length is measured once.

    By 6 s a comparison of two sides has built both labs and measured pairs; what follows is more of them.
    """
    return Killing(tmp_path_factory.mktemp("killed"), longest_s=6.0)


def test_what_is_left_is_seen(killing: Killing) -> None:
    """The look itself finds what it is to find: without a cure a run that is killed in its traffic leaves much."""
    running, before = killing.at_its_traffic()
    running.kill()
    running.wait()
    try:
        # Nothing of it goes away by itself.
        left = {kind for kind, names in killing.watched.differing(before, settling_s=0.5).items() if names}
        assert {"namespaces", "processes", "control groups", "files", "mounts"} <= left
        assert left <= set(KINDS) - {"partial files", "sysctls"}
    finally:
        killing.cure("clean")
    assert not any(killing.watched.differing(before).values())

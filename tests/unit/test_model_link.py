"""What a link of the file comes to: two directions, resolved when it is made and again when it is copied."""

from __future__ import annotations

import copy

import pytest

from perfcheck.model.link import DIRECTIONS, LinkSpec

MS = 10**6
LINK = {
    "between": ["a", "b"],
    "delay": "10ms",
    "rate": "8mbit",
    "queue": "1bdp",
    "loss": "1%",
    "reverse": {"delay": "30ms", "rate": "80mbit", "queue": "20p"},
}


def test_a_direction_has_its_own_values_and_the_links_for_the_rest() -> None:
    forward, reverse = LinkSpec.model_validate(LINK).directions
    assert (forward.name, reverse.name) == DIRECTIONS
    assert (forward.delay_ns, forward.rate_bps) == (10 * MS, 8_000_000)
    assert (reverse.delay_ns, reverse.rate_bps) == (30 * MS, 80_000_000)
    assert [direction.loss_pct for direction in (forward, reverse)] == [1.0, 1.0]
    # One BDP of the direction's rate and the round trip of both.
    assert (forward.queue_bytes, forward.queue_packets) == (40_000, None)
    assert (reverse.queue_bytes, reverse.queue_packets) == (None, 20)


def test_what_is_not_asked_for_is_nothing() -> None:
    direction = LinkSpec.model_validate({"between": ["a", "b"]}).direction("reverse")
    assert (direction.delay_ns, direction.jitter_ns, direction.rate_bps, direction.schedule) == (0, 0, None, ())
    assert not direction.impairs
    assert not direction.rate_varies


def test_a_schedule_moves_the_values_from_moment_to_moment() -> None:
    schedule = [{"at": "0s", "rate": "4mbit"}, {"at": "1s", "delay": "5ms"}, {"at": "2s", "rate": "1mbit"}]
    forward = LinkSpec.model_validate({**LINK, "schedule": schedule}).direction("forward")
    assert (forward.rate_bps, forward.at_start().rate_bps, forward.queue_bytes) == (8_000_000, 4_000_000, 20_000)
    assert [(moment.delay_ns, moment.rate_bps) for moment in forward.moments()] == [
        (10 * MS, 4_000_000), (5 * MS, 4_000_000), (5 * MS, 1_000_000),
    ]  # fmt: skip
    assert forward.rate_varies


@pytest.mark.parametrize("changed", [{"delay_ns": 7 * MS}, {"reverse": None}, {"seed": 9}, {"mtu": 1400}])
def test_a_changed_copy_has_the_directions_of_a_link_made_so(changed: dict[str, object]) -> None:
    link = LinkSpec.model_validate(LINK)
    copied = link.model_copy(update=changed)
    made = LinkSpec.model_construct(**{name: getattr(copied, name) for name in LinkSpec.model_fields})
    assert copied.directions == made.directions
    assert copied.directions != link.directions
    assert copied != link


def test_a_plain_copy_is_equal() -> None:
    link = LinkSpec.model_validate(LINK)
    for copied in (link.model_copy(), copy.deepcopy(link), LinkSpec.model_validate(link)):
        assert (copied, copied.directions) == (link, link.directions)

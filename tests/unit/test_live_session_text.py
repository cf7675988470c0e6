"""What a live session says of itself."""

from __future__ import annotations

import pytest

from perfcheck.live.session import stretched_text

S = 1_000_000_000


@pytest.mark.parametrize(
    ("stretch", "lasted_ns", "told"),
    [
        (1, S, False),
        (1, 2 * S, False),  # a machine that was late
        (2, 2 * S, True),
        (4, 3 * S + S // 2, True),
        (2, S, False),  # the last one: --duration ended it, or Ctrl-C
        (2, S // 10, False),
    ],
)
def test_intervals_are_said_to_be_longer_only_where_they_were(stretch: int, lasted_ns: int, told: bool) -> None:
    text = stretched_text(stretch, lasted_ns, S)
    assert text == ((f"intervals are {stretch} times as long as asked for",) if told else ())

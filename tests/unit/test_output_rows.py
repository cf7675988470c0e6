"""Texts of changes and intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.output.rows import interval_text, signed_pct


@pytest.mark.parametrize(
    ("change_pct", "text"),
    [(110.526, "+111 %"), (-110.526, "-111 %"), (99.96, "+100 %"), (99.94, "+99.9 %"), (-0.04, "+0.0 %"),
     (412.0, "+412 %")],
)  # fmt: skip
def test_a_change_is_rounded_once(change_pct: float, text: str) -> None:
    assert signed_pct(change_pct) == text


@given(st.floats(min_value=-1e6, max_value=1e6))
def test_what_is_shown_is_the_nearest(change_pct: float) -> None:
    shown = signed_pct(change_pct).removesuffix(" %")
    assert abs(float(shown) - change_pct) <= (0.5 if "." not in shown else 0.05) + 1e-6


def test_an_interval_has_both_ends_rounded_in_the_same_way() -> None:
    assert interval_text((110.526, 117.1)) == "+111 to +117 %"

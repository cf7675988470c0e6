from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcheck.analyse.histogram import merge, quantile, statistics
from perfcheck.model.flow import Histogram
from perfcheck.testing import make_histogram

Floats = NDArray[np.float64]
FINE = tuple((32 + step) * 2.0**octave / 32 for octave in range(24) for step in range(32))
"""32 steps an octave, as the BPF core counts."""


@st.composite
def samples(draw: st.DrawFn) -> Floats:
    """Values of very different shapes within the scale of FINE."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(200, 5000))
    middle = draw(st.floats(20, 1e6))
    shape = draw(st.sampled_from(["lognormal", "uniform", "exponential", "two humps", "constant"]))
    shapes: dict[str, Floats] = {
        "lognormal": middle * rng.lognormal(0, 0.6, size),
        "uniform": rng.uniform(middle, 3 * middle, size),
        "exponential": middle + rng.exponential(middle, size),
        "two humps": np.where(rng.random(size) < 0.8, middle, 4 * middle) * rng.normal(1, 0.02, size),
        "constant": np.full(size, middle),
    }
    return np.asarray(np.clip(shapes[shape], FINE[0], FINE[-2]))


@settings(max_examples=150, deadline=None)
@given(samples())
def test_p99_lies_within_3_pct_of_the_values_own(values: Floats) -> None:
    histogram = make_histogram(values.tolist(), edges=FINE)
    # What numpy calls p99 lies between two neighbouring values; either is right.
    exact = [np.quantile(values, 0.99, method=method) for method in ("lower", "higher")]
    assert 0.97 * exact[0] <= quantile(histogram, 0.99) <= 1.03 * exact[1]


@settings(max_examples=60, deadline=None)
@given(samples())
def test_quantiles_ascend_and_stay_within_minimum_and_maximum(values: Floats) -> None:
    found = statistics(make_histogram(values.tolist(), edges=FINE))
    ordered = [found[name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
    assert ordered == sorted(ordered)
    assert found["mean"] == pytest.approx(values.mean())
    assert (found["min"], found["max"]) == (values.min(), values.max())


@settings(max_examples=60, deadline=None)
@given(samples(), st.integers(1, 199))
def test_merging_the_parts_gives_the_histogram_of_the_whole(values: Floats, cut: int) -> None:
    parts = [make_histogram(part.tolist(), edges=FINE) for part in (values[:cut], values[cut:])]
    whole = make_histogram(values.tolist(), edges=FINE)
    merged = merge(parts)
    assert merged is not None
    assert (merged.counts, merged.below, merged.above) == (whole.counts, whole.below, whole.above)
    assert (merged.minimum, merged.maximum) == (whole.minimum, whole.maximum)
    assert merged.total == pytest.approx(whole.total)


def test_values_off_the_scale_keep_their_place() -> None:
    values = [0.5] * 10 + [3.0] * 80 + [99.0] * 10
    histogram = make_histogram(values, edges=(1.0, 2.0, 4.0, 8.0))
    assert (histogram.below, histogram.above) == (10, 10)
    assert quantile(histogram, 0.05) < 1.0
    assert 2.0 <= quantile(histogram, 0.5) <= 4.0
    assert 8.0 < quantile(histogram, 0.99) <= 99.0
    assert statistics(histogram)["max"] == 99.0


def test_an_empty_histogram_has_no_statistics() -> None:
    empty = Histogram(unit="us", edges=(1.0, 2.0), counts=(0,))
    assert statistics(empty) == {}
    assert statistics(None) == {}
    assert merge([empty]) is None
    with pytest.raises(ValueError, match="no quantiles"):
        quantile(empty, 0.5)


def test_histograms_of_different_units_are_not_added_up() -> None:
    parts = [make_histogram([1.0], unit) for unit in ("us", "segs")]
    with pytest.raises(ValueError, match="different units"):
        merge(parts)

"""How long traffic takes until it is again as it was: goodput of flows, latency of requests."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.spans import Span
from perfcheck.model.observation import Arrival, Requests, TrafficReport

MARGIN: Final = 0.1
FLOOR_US: Final = 200.0
"""Latencies of the machine alone differ by so much without a reason."""
LASTING_NS: Final = 500_000_000
"""What is as it was for a shorter time is a burst: queued packets that arrive together, one request in between."""
FEWEST: Final = 2
"""Intervals at the end of the traffic that are enough to call it recovered."""

Ints = npt.NDArray[np.int64]


def recovered_ns(report: TrafficReport, reference: Span, begin_ns: int) -> int | None:
    """Return the time from `begin_ns` until the report's traffic is as it was in `reference`; None where never.

    Goodput counts that is at least 90 % of what it was, a median latency that is at most 110 % (or what three quarters
    of the requests kept to before), each of what follows over half a second. ValueError where nothing was measured in
    `reference`: nobody can say what it was.
    """
    if report.measured_ns is None:
        raise ValueError(f"{report.generator} measured nothing")
    reference = max(reference[0], report.measured_ns[0]), reference[1]
    if report.requests is not None:
        return _by_latency(report.requests, reference, begin_ns, report.measured_ns[1])
    measured = [each for each in report.arrivals if each.begin_ns >= report.measured_ns[0]]
    return _by_goodput(measured, reference, begin_ns)


def _by_latency(requests: Requests, reference: Span, begin_ns: int, end_ns: int) -> int | None:
    order = np.argsort(requests.sent_ns, kind="stable")
    sent_ns, latency_us = requests.sent_ns[order], requests.latency_us[order]
    usual_us = latency_us[(sent_ns >= reference[0]) & (sent_ns < reference[1])]
    if not len(usual_us):
        raise ValueError("no request was answered before")
    median_us, upper_us = (float(each) for each in np.percentile(usual_us, (50, 75)))
    later = sent_ns >= begin_ns
    # Requests in a queue that rises and falls have a median of half a second that does so, too.
    most_us = max(median_us * (1 + MARGIN), median_us + FLOOR_US, upper_us)
    sent_ns, good = sent_ns[later], latency_us[later] <= most_us
    summed = np.concatenate(([0], np.cumsum(good)))
    first, last = np.arange(len(sent_ns)), np.searchsorted(sent_ns, sent_ns + LASTING_NS)
    # The median is within the margin where at least half of the values are. Who waits for one answer asks no more:
    # where so few are asked that one of them may have been waited for, nothing has recovered.
    usual_per_ns = len(usual_us) / (reference[1] - reference[0])
    asked = 2 * (last - first) >= usual_per_ns * np.minimum(LASTING_NS, end_ns - sent_ns)
    found = np.flatnonzero(good & asked & (2 * (summed[last] - summed[first]) >= last - first))
    return int(sent_ns[found[0]]) - begin_ns if len(found) else None


def _by_goodput(arrivals: list[Arrival], reference: Span, begin_ns: int) -> int | None:
    begins = np.array([each.begin_ns for each in arrivals], np.int64)
    ends = np.array([each.end_ns for each in arrivals], np.int64)
    sizes = np.array([each.size_bytes for each in arrivals], np.float64)
    middles = (begins + ends) // 2
    before = (middles >= reference[0]) & (middles < reference[1])
    time_ns = int((ends[before] - begins[before]).sum())
    usual = float(sizes[before].sum()) / time_ns if time_ns else 0.0
    if not usual:
        raise ValueError("nothing arrived before")
    later = middles >= begin_ns
    begins, ends, sizes = begins[later], ends[later], sizes[later]
    good = _lastingly(begins, ends, sizes, (1 - MARGIN) * usual)
    if good is None:
        return None
    return max(_resumed(begins, ends, sizes, usual, good) - begin_ns, 0)


def _resumed(begins: Ints, ends: Ints, sizes: npt.NDArray[np.float64], usual: float, good: int) -> int:
    """Return when the traffic came back of which the first good interval is known.

    It fills the end of the interval in which it came, at the rate of the interval after: a sender that is late may
    send faster than it usually does.
    """
    if not good:
        return int(begins[0])
    first = good - 1 if sizes[good - 1] else good
    after = first + 1
    rate = max(usual, sizes[after] / (ends[after] - begins[after])) if after < len(sizes) else usual
    filled_ns = min(float(sizes[first]) / float(rate), float(ends[first] - begins[first]))
    return int(ends[first]) - round(filled_ns)


def _lastingly(begins: Ints, ends: Ints, sizes: npt.NDArray[np.float64], least: float) -> int | None:
    """Return the first interval that has at least so many bytes a ns, and with those after it on average, too."""
    summed = np.concatenate(([0.0], np.cumsum(sizes)))
    for index in range(len(begins) - FEWEST + 1):
        if sizes[index] < least * (ends[index] - begins[index]):
            continue
        last = max(int(np.searchsorted(begins, begins[index] + LASTING_NS)), index + FEWEST)
        if summed[last] - summed[index] >= least * (ends[last - 1] - begins[index]):
            return index
    return None

"""Changes of time series: 3 sigma on a sliding window for spikes, CUSUM for steps; pure.

A saw-tooth of a congestion window is no change, and white noise has none. So a spike must be outside the window before
it and outside what the whole series does. A step must exceed what the series' own slow variation can add up to: the sum
of deviations of a periodic series stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from perfcheck.model.event import Event, EventType
from perfcheck.model.metric import Layer
from perfcheck.model.series import Curve
from perfcheck.model.subject import SubjectKind

Values = npt.NDArray[np.float64]
Method = Literal["three_sigma", "cusum"]

WINDOW: Final = 20
"""Samples before one that it is compared with."""
SIGMAS: Final = 3.0
FALSE_ALARMS: Final = 0.001
"""How often white noise of any length may be said to have a spike, or a step, one series each."""
LEAST_SEGMENT: Final = 8
"""Samples on either side of a step."""
MOST_STEPS: Final = 8
MOST_SPIKES: Final = 5
MOST_ANOMALIES: Final = 200
"""Of one trial; the largest are kept."""
MOST_SAMPLES: Final = 2_000_000
"""Samples of one trial that are looked at, 32 MB."""
_NORMAL_MAD: Final = 1.4826
_NORMAL_MEAN: Final = 1.2533
"""By what the median and the mean of absolute deviations are multiplied to give a normal distribution's sigma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One change: `t_ns` is the end of the interval in which it was first seen, `size` is in sigmas of the series."""

    subject: str | None
    metric: str
    t_ns: int
    method: Method
    before: float
    after: float
    size: float

    @property
    def change(self) -> str:
        """Whether the series went up or down."""
        return "up" if self.after > self.before else "down"


def anomalies(curves: Iterable[Curve]) -> tuple[Anomaly, ...]:
    """Return the changes of a trial's curves in the order of time, at most MOST_ANOMALIES.

    Parts of one curve are joined. What comes after MOST_SAMPLES samples is not looked at.
    """
    parts: dict[tuple[str | None, str], list[Curve]] = {}
    samples = 0
    for curve in curves:
        samples += len(curve.values)
        if samples <= MOST_SAMPLES:
            parts.setdefault((curve.subject, curve.metric), []).append(curve)
    found = [one for (subject, metric), own in parts.items() for one in _of_one(subject, metric, own)]
    found.sort(key=lambda one: (-one.size, one.t_ns, one.metric, one.subject or ""))
    kept = found[:MOST_ANOMALIES]
    return tuple(sorted(kept, key=lambda one: (one.t_ns, one.metric, one.subject or "")))


def _of_one(subject: str | None, metric: str, parts: Sequence[Curve]) -> Iterator[Anomaly]:
    t_ns = np.concatenate([part.t_ns for part in parts])
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(t_ns, kind="stable")
    t_ns, values = t_ns[order], values[order]
    finite = np.isfinite(values)
    t_ns, values = t_ns[finite], values[finite]
    steps = step_places(values)
    for method, places in (("cusum", steps), ("three_sigma", spike_places(values, steps))):
        for place, before, after, size in places:
            yield Anomaly(
                subject=subject, metric=metric, t_ns=int(t_ns[place]), method=method,  # type: ignore[arg-type]
                before=before, after=after, size=size,
            )  # fmt: skip


Found = tuple[int, float, float, float]
"""Place, value or level before, value or level after, size in sigmas."""


def step_places(values: Values) -> tuple[Found, ...]:
    """Return where the level of a series changes, in the order of time: CUSUM, the series cut in two at each change."""
    found: list[tuple[int, float]] = []
    waiting = [(0, len(values))]
    while waiting and len(found) < MOST_STEPS:
        begin, end = waiting.pop(0)
        places, size = _largest_change(values[begin:end])
        found += [(begin + place, size) for place in places]
        edges = [begin, *(begin + place for place in places), end]
        waiting += list(pairwise(edges)) if places else []
    if not found:
        return ()
    found = sorted(found[:MOST_STEPS])
    edges = [0, *(place for place, _ in found), len(values)]
    levels = [float(np.mean(values[one:other])) for one, other in pairwise(edges)]
    return tuple((place, levels[at], levels[at + 1], size) for at, (place, size) in enumerate(found))


def _largest_change(values: Values) -> tuple[tuple[int, ...], float]:
    """Return the places of a step, or of the begin and the end of another level, and its size in sigmas.

    No place where the sum of deviations is what chance makes of it: the largest sum is bounded as that of a Brownian
    bridge is (2 exp(-2 c^2)), the range of sums by Kuiper's formula.
    """
    size = len(values)
    if size < 2 * LEAST_SEGMENT or np.ptp(values) <= 1e-9 * np.max(np.abs(values)):
        return (), 0.0
    sums = np.concatenate(([0.0], np.cumsum(values - values.mean())))
    inner = np.abs(sums[LEAST_SEGMENT : size - LEAST_SEGMENT + 1])
    place = int(np.argmax(inner)) + LEAST_SEGMENT
    spread, height = _around(values, np.arange(size) < place)
    if abs(sums[place]) > _STEP_BOUND * spread * np.sqrt(size):
        return (place,), height / spread
    begin, end = sorted((int(np.argmin(sums)), int(np.argmax(sums))))
    if min(begin, end - begin, size - end) < LEAST_SEGMENT:
        return (), 0.0
    at = np.arange(size)
    spread, height = _around(values, (at >= begin) & (at < end))
    if np.ptp(sums) > _RANGE_BOUND * spread * np.sqrt(size):
        return (begin, end), height / spread
    return (), 0.0


_STEP_BOUND: Final = 2.04
_RANGE_BOUND: Final = 2.41
"""Each is exceeded once in 2,000 series of white noise."""


def _around(values: Values, part: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return how far values are from the levels of a part and of the rest, and how far those are apart.

    The scale is the larger of the deviation of single values and of means of blocks, which slow variation raises.
    """
    one, other = float(values[part].mean()), float(values[~part].mean())
    rest = values - np.where(part, one, other)
    block = max(int(np.sqrt(len(values))), 2)
    means = rest[: len(rest) - len(rest) % block].reshape(-1, block).mean(axis=1)
    square = max(float(np.mean(rest**2)), block * float(np.mean(means**2)), _grain(values) ** 2)
    tiny = 1e-9 * float(np.max(np.abs(values)))
    return max(float(np.sqrt(square)), tiny), abs(one - other)


def spike_places(values: Values, steps: Sequence[Found] = ()) -> tuple[Found, ...]:
    """Return single values that are far outside the window before them and outside the series, the largest ones.

    What follows a step within a window is judged by the step.
    """
    if len(values) <= WINDOW:
        return ()
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)[:-1]
    mean = windows.mean(axis=1)
    grain = _grain(values)
    sigma = np.maximum(windows.std(axis=1, ddof=1) * np.sqrt(1 + 1 / WINDOW), grain)
    now = values[WINDOW:]
    middle = float(np.median(values))
    away = np.abs(values - middle)
    whole = max(_NORMAL_MAD * float(np.median(away)), _NORMAL_MEAN * float(np.mean(away)), grain)
    if whole <= 0:
        return ()
    from scipy.special import ndtri  # a quarter of a second to load, and no run without series needs it

    bound = max(SIGMAS, float(-ndtri(FALSE_ALARMS / 2 / len(now))))
    size = np.abs(now - middle) / whole
    outside = (np.abs(now - mean) > SIGMAS * sigma) & (size > bound)
    for place, *_ in steps:
        outside[max(place - WINDOW, 0) : place] = False
    # A spike that lasts is one.
    outside[1:] &= ~outside[:-1]
    places = np.flatnonzero(outside)
    largest = np.sort(places[np.argsort(-size[places], kind="stable")[:MOST_SPIKES]])
    return tuple((int(at) + WINDOW, float(mean[at]), float(now[at]), float(size[at])) for at in largest)


def _grain(values: Values) -> float:
    """Return the least sigma of a series of counts: small counts are spread as their mean is; 0 for other series."""
    if np.any(values < 0) or np.any(values != np.floor(values)):
        return 0.0
    return float(np.sqrt(1 + values.mean()))


def anomaly_events(
    found: Sequence[Anomaly], zero_ns: int, first: int, kinds: Mapping[str, SubjectKind]
) -> tuple[Event, ...]:  # fmt: skip
    """Return changes as events, numbered from `first`.

    `zero_ns` is CLOCK_MONOTONIC when the traffic's time began, `kinds` says what each subject is.
    """
    return tuple(
        Event(
            number=first + place, timestamp_ns=zero_ns + one.t_ns, flow=None, layer=Layer(one.metric.partition(".")[0]),
            metric=one.metric, value=one.after, type=EventType.ALERT,
            context={
                "kind": "anomaly", "change": one.change, "method": one.method, "before": one.before,
                "sigmas": round(one.size, 2), **_subject(one.subject, kinds),
            },
        )
        for place, one in enumerate(found)
    )  # fmt: skip


def _subject(name: str | None, kinds: Mapping[str, SubjectKind]) -> dict[str, str]:
    if name is None:
        return {}
    return {"subject": name} | ({"host": name} if kinds.get(name) is SubjectKind.HOST else {})

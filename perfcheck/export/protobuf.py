"""Families as delimited protobuf messages: the only form in which Prometheus takes native histograms."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from perfcheck.export.buckets import SCHEMA, Accumulated, Native
from perfcheck.export.client_model import metric_family_class, type_number
from perfcheck.export.family import Kind
from perfcheck.export.snapshot import Labels, Series

_family_class = functools.cache(metric_family_class)


def protobuf_bytes(series: Iterable[Series]) -> bytes:
    """Return families as MetricFamily messages, each behind its length; histograms are classic and native."""
    return b"".join(part for one in series for part in _delimited(one))


def _delimited(one: Series) -> Iterator[bytes]:
    if one.values or one.histograms:
        content = _message(one).SerializeToString()
        yield from (_varint(len(content)), content)


def _message(one: Series) -> Any:
    kind = one.family.kind
    message = _family_class()(name=one.family.name, help=one.family.help, type=type_number(kind.value.upper()))
    for labels, value in one.values:
        _value(_metric(message, labels), kind, value)
    for labels, histogram in one.histograms:
        _histogram(_metric(message, labels).histogram, histogram)
    return message


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*made, number))


def _metric(message: Any, labels: Labels) -> Any:
    metric = message.metric.add()
    for name, value in labels:
        metric.label.add(name=name, value=value)
    return metric


def _value(metric: Any, kind: Kind, value: float) -> None:
    if kind is Kind.COUNTER:
        metric.counter.value = value
    else:
        metric.gauge.value = value


def _histogram(message: Any, histogram: Accumulated) -> None:
    message.sample_count, message.sample_sum = histogram.count, histogram.sum
    classic, native = histogram.classic(), histogram.native()
    for bound, reached in zip(classic.bounds, classic.cumulative, strict=True):
        message.bucket.add(cumulative_count=reached, upper_bound=bound)
    message.schema = SCHEMA
    # Above 0 even without any value: it says that the histogram is native.
    message.zero_threshold = native.zero_threshold or 2.0**-128
    message.zero_count = native.zeros
    _spans(message, native)


def _spans(message: Any, native: Native) -> None:
    """Fill in runs of adjacent buckets, and each bucket's count less that of the one before."""
    following = 0
    before = 0
    span = None
    for index, count in native.counts:
        if span is None or index != following:
            span = message.positive_span.add(offset=index - following, length=0)
        span.length += 1
        message.positive_delta.append(count - before)
        following, before = index + 1, count

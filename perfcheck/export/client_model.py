"""The messages of Prometheus' protobuf exposition (io.prometheus.client): names, types and numbers of their fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "io.prometheus.client"
_TYPES: Final = {
    "double": FieldDescriptorProto.TYPE_DOUBLE, "int64": FieldDescriptorProto.TYPE_INT64,
    "uint64": FieldDescriptorProto.TYPE_UINT64, "uint32": FieldDescriptorProto.TYPE_UINT32,
    "sint32": FieldDescriptorProto.TYPE_SINT32, "sint64": FieldDescriptorProto.TYPE_SINT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}  # fmt: skip
_TYPE_NAMES: Final = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")
_MESSAGES: Final[dict[str, Sequence[tuple[int, str, str]]]] = {
    "LabelPair": ((1, "string", "name"), (2, "string", "value")),
    "Gauge": ((1, "double", "value"),),
    "Counter": ((1, "double", "value"),),
    "Bucket": ((1, "uint64", "cumulative_count"), (2, "double", "upper_bound")),
    "BucketSpan": ((1, "sint32", "offset"), (2, "uint32", "length")),
    "Histogram": (
        (1, "uint64", "sample_count"), (2, "double", "sample_sum"), (3, "*Bucket", "bucket"), (5, "sint32", "schema"),
        (6, "double", "zero_threshold"), (7, "uint64", "zero_count"), (12, "*BucketSpan", "positive_span"),
        (13, "*sint64", "positive_delta"),
    ),
    "Metric": (
        (1, "*LabelPair", "label"), (2, "Gauge", "gauge"), (3, "Counter", "counter"), (7, "Histogram", "histogram"),
    ),
    "MetricFamily": (
        (1, "string", "name"), (2, "string", "help"), (3, "MetricType", "type"), (4, "*Metric", "metric"),
    ),
}  # fmt: skip
"""Number, type and name of each field that is used here; `*` before a type: repeated."""


def metric_family_class() -> Any:
    """Return the class of MetricFamily messages."""
    pool = DescriptorPool()
    pool.Add(_file())
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


def type_number(name: str) -> int:
    """Return the number of a metric type."""
    return _TYPE_NAMES.index(name)


def _file() -> FileDescriptorProto:
    made = FileDescriptorProto(name="perfcheck/client_model.proto", package=_PACKAGE, syntax="proto2")
    kinds = made.enum_type.add(name="MetricType")
    for number, name in enumerate(_TYPE_NAMES):
        kinds.value.add(name=name, number=number)
    for message, fields in _MESSAGES.items():
        declared = made.message_type.add(name=message)
        for number, kind, name in fields:
            declared.field.append(_field(number, kind, name))
    return made


def _field(number: int, kind: str, name: str) -> FieldDescriptorProto:
    label = FieldDescriptorProto.LABEL_REPEATED if kind.startswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    field = FieldDescriptorProto(name=name, number=number, label=label)
    if kind in _TYPES:
        field.type = _TYPES[kind]
        return field
    field.type_name = f".{_PACKAGE}.{kind}"
    field.type = FieldDescriptorProto.TYPE_ENUM if kind == "MetricType" else FieldDescriptorProto.TYPE_MESSAGE
    return field

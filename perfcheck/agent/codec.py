"""Dataclasses as JSON and back, by their type hints: what crosses to another machine is data, never code.

Mappings become lists of pairs, since their keys need not be texts. Arrays of numpy carry their type and their bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import types
import typing
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeVar, cast

from perfcheck.errors import LabError

T = TypeVar("T")

_ARRAY: Final = "array"
_UNIONS: Final = (typing.Union, types.UnionType)
_LISTS: Final = (tuple, list, frozenset, Sequence)


def encode(value: Any) -> Any:
    """Return what JSON can hold of a value; TypeError for a type that has no form here."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return [[encode(key), encode(each)] for key, each in value.items()]
    if isinstance(value, (tuple, list, frozenset, set)):
        return [encode(each) for each in value]
    if hasattr(value, "dtype"):
        return _array(value)
    raise TypeError(f"{type(value).__name__} cannot be sent")


def decode(hint: type[T], value: Any) -> T:
    """Return the value of this type; LabError where what came is no such value."""
    try:
        return cast("T", _decode(hint, value))
    except (TypeError, ValueError, KeyError, AttributeError, zlib.error) as error:
        name = getattr(hint, "__name__", str(hint))
        raise LabError(f"the other machine's perfcheck sent no {name}: {error}") from None


def _array(value: Any) -> dict[str, Any]:
    import numpy as np

    whole = np.ascontiguousarray(value)
    return {
        _ARRAY: base64.b64encode(zlib.compress(whole.tobytes(), 1)).decode(), "shape": list(whole.shape),
        "dtype": np.lib.format.dtype_to_descr(whole.dtype),
    }  # fmt: skip


def _to_array(value: Mapping[str, Any]) -> Any:
    import numpy as np

    kind = np.lib.format.descr_to_dtype(_descriptor(value["dtype"]))
    if kind.hasobject:
        raise ValueError("an array of objects is refused")
    raw = zlib.decompress(base64.b64decode(value[_ARRAY]))
    return np.frombuffer(raw, kind).reshape([int(length) for length in value["shape"]]).copy()


def _descriptor(value: Any) -> Any:
    """Return numpy's description of a type: JSON has made lists of its tuples."""
    if isinstance(value, str):
        return value
    fields = []
    for name, kind, *shape in value:
        own = tuple(name) if isinstance(name, list) else name
        fields.append((own, _descriptor(kind), *(tuple(each) for each in shape)))
    return fields


def _decode(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in _UNIONS:
        return _optional(typing.get_args(hint), value)
    if origin is typing.Annotated:
        return _decode(typing.get_args(hint)[0], value)
    if origin is not None:
        return _generic(origin, typing.get_args(hint), value)
    if isinstance(value, Mapping) and _ARRAY in value:
        return _to_array(value)
    return _plain(hint, value)


def _plain(hint: Any, value: Any) -> Any:
    if hint is Any or hint is object:
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast("type[Any]", hint), value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is bytes:
        return base64.b64decode(value, validate=True)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None):
        hint = types.NoneType
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"expected {getattr(hint, '__name__', hint)}, got {value!r:.80}")
    return value


def _optional(choices: Sequence[Any], value: Any) -> Any:
    """Return the value of the first choice that it is one of."""
    if value is None and types.NoneType in choices:
        return None
    last: Exception = TypeError(f"got {value!r:.80}")
    for choice in choices:
        try:
            return _decode(choice, value)
        except (TypeError, ValueError, KeyError) as error:
            last = error
    raise last


def _generic(origin: Any, arguments: Sequence[Any], value: Any) -> Any:
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"expected one of {arguments}, got {value!r:.80}")
        return value
    if isinstance(origin, type) and origin.__module__ == "numpy":
        return _to_array(value)
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r:.80}")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key_hint, value_hint = arguments
        return {_decode(key_hint, key): _decode(value_hint, each) for key, each in value}
    if origin is tuple and Ellipsis not in arguments:
        if len(value) != len(arguments):
            raise ValueError(f"expected {len(arguments)} values, got {len(value)}")
        return tuple(_decode(each_hint, each) for each_hint, each in zip(arguments, value, strict=True))
    if origin in _LISTS:
        make: Callable[[Any], Any] = frozenset if origin is frozenset else tuple
        return make(_decode(arguments[0], each) for each in value)
    raise TypeError(f"{origin} cannot be received")


def _dataclass(hint: type[Any], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {hint.__name__}, got {value!r:.80}")
    hints = _hints(cast("Hashable", hint))
    unknown = value.keys() - hints.keys()
    if unknown:
        raise ValueError(f"{hint.__name__} has no {', '.join(sorted(unknown))}")
    return hint(**{name: _decode(hints[name], each) for name, each in value.items()})


@functools.cache
def _hints(hint: Any) -> Mapping[str, Any]:
    try:
        found = typing.get_type_hints(hint)
    except NameError:
        # Arrays are imported for types alone: a machine without numpy sends and takes none.
        import numpy.typing

        found = typing.get_type_hints(hint, localns={"npt": numpy.typing})
    return {field.name: found[field.name] for field in dataclasses.fields(hint) if field.init}

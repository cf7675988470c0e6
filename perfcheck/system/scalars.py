"""Reads a plain YAML scalar and reports its errors: PyYAML's own constructors trust its tag."""

from __future__ import annotations

from typing import Final

import yaml

Value = str | int | float | bool | None

_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = ("str", "int", "float", "bool", "null")


def scalar_value(node: yaml.ScalarNode, loader: yaml.SafeLoader) -> Value:
    """Return the value of a text, number, boolean or null; ValueError for another tag, or a tag that does not fit."""
    kind = node.tag.removeprefix(_TAG)
    if kind not in _KINDS:
        raise ValueError(f"expected a text or number, got the tag {node.tag!r}; a text such as a date needs quotes")
    try:
        value: Value = loader.construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        # "!!int" before nothing, "!!bool" before a word that is none: PyYAML raises whatever its code comes upon.
        raise ValueError(f"the tag !!{kind} does not fit {node.value!r}") from None
    if kind == "null" and node.value not in ("", "~", "null", "Null", "NULL"):
        raise ValueError(f"the tag !!null does not fit {node.value!r}")
    return value

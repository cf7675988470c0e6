"""The page of the Python API, made from the docstrings of perfcheck's public names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import perfcheck
from made.markdown import anchor_of, code, docstring, heading, literal, page, prose, table

_INTRO: Final = """\
After this page you know each name that `perfcheck` exports. [Tests in Python](../python-tests.md) shows them at work.

```python
from perfcheck import ms


def test_upload(perfcheck):
    record = perfcheck.run("office.yaml", repeat=3)
    assert record["tcp.rtt_us.p99"] < ms(80)
```

The fixture `perfcheck` is a [Perfcheck](#perfcheck)."""
_OPERATORS: Final[Mapping[str, str]] = {
    "__getitem__": "{name}[{rest}]", "__iter__": "iter({name})", "__len__": "len({name})",
    "__contains__": "{rest} in {name}",
}  # fmt: skip
"""What of the special methods is called by these signs; arithmetic and comparisons are told in the docstrings."""


def public_names() -> Mapping[str, Any]:
    """Return the exported names with what they are."""
    return {name: getattr(perfcheck, name) for name in perfcheck.__all__}


def python_page() -> str:
    """Return the page."""
    names = public_names()
    classes = {name: found for name, found in names.items() if inspect.isclass(found)}
    errors = {name: found for name, found in classes.items() if issubclass(found, BaseException)}
    functions = {name: found for name, found in names.items() if name not in classes}
    return page(
        "The Python API", _INTRO,
        *(block for name, found in classes.items() if name not in errors for block in _of_class(name, found)),
        heading(2, "Quantities", "quantities"),
        table(("call", "returns"), ((code(f"{name}{_signature(found)}"), _summary(found))
                                    for name, found in functions.items())),
        heading(2, "Exceptions", "exceptions"),
        table(("exception", "is a", "meaning"),
              ((code(name), code(found.__mro__[1].__name__), _summary(found)) for name, found in errors.items())),
    )  # fmt: skip


def members(found: type) -> Iterator[tuple[str, object]]:
    """Yield the public members of a class that have a docstring, and the operators that read it."""
    for home in reversed(found.__mro__[:-1]):
        if not home.__module__.startswith("perfcheck."):
            continue
        for name, member in vars(home).items():
            bare = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            shown = name in _OPERATORS or not name.startswith("_")
            if shown and (callable(bare) or isinstance(bare, property)) and inspect.getdoc(bare):
                yield name, member


def _of_class(name: str, found: type) -> Iterator[str]:
    yield heading(2, code(name), anchor_of(name))
    yield from docstring(found)
    for member, value in dict(members(found)).items():
        call = _call(name, member, value)
        shown = call if member in _OPERATORS or isinstance(value, property) else member
        yield heading(3, code(shown), anchor_of(f"{name}-{member}"))
        if call != shown:
            yield f"```python\n{call}\n```"
        yield from docstring(value.__func__ if isinstance(value, classmethod | staticmethod) else value)


def _call(owner: str, name: str, member: object) -> str:
    """Return how a member is used."""
    if isinstance(member, property):
        return name
    made = isinstance(member, classmethod | staticmethod)
    bare = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    signature = _signature(bare, bound=not isinstance(member, staticmethod))
    if name in _OPERATORS:
        return _OPERATORS[name].format(name=owner.lower(), rest=signature.partition(")")[0].strip("("))
    return f"{owner if made else ''}{'.' if made else ''}{name}{signature}"


def _signature(found: object, *, bound: bool = False) -> str:
    if not callable(found):
        return ""
    callee: Callable[..., object] = found
    signature = inspect.signature(callee)
    if bound:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    # Annotations are texts, which `inspect` puts between quotation marks.
    return re.sub(r"'([^']*)'", r"\1", str(signature)) if "'" in str(signature) else str(signature)


def _summary(found: object) -> str:
    text = inspect.getdoc(found) or ""
    return prose(text.partition("\n\n")[0]) or literal("-")

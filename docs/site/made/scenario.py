"""The page of all keys of the scenario file, made from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from made.markdown import anchor_of, code, page, prose, table
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.scenario.reference import default_text, value_text
from perfcheck.scenario.schema import json_schema

Form = Mapping[str, Any]
_INTRO: Final = """\
After this page you can look up any key of a scenario file. [The scenario file](../scenario-file.md) explains the
blocks one by one, with examples.

    perfcheck schema > scenario.schema.json

The JSON Schema has all of this for editors: [scenario.schema.json](scenario.schema.json). With the YAML language
server, put this line at the top of a file:

```yaml
# yaml-language-server: $schema=scenario.schema.json
```

`<name>` stands for a name that you choose, `[]` for each entry of a list. The keys of `expect` and
`tolerance` are [metrics](metrics.md), also as `METRIC@SUBJECT` and `METRIC/PHASE`."""


def page_of_keys() -> str:
    """Return the page."""
    rows = (
        (f'<span id="{anchor_of(path)}">{code(path)}</span>', prose(_values(part)),
         "required" if required else prose(default_text(part.get("default"))), prose(_meaning(part)))
        for path, part, required in all_keys()
    )  # fmt: skip
    return page("All keys of the scenario file", _INTRO, table(("key", "value", "default", "meaning"), rows))


def all_keys() -> Iterator[tuple[str, Form, bool]]:
    """Yield each key's path, what the schema says of it, and whether it is required; metrics have another page."""
    schema = json_schema()
    yield from _below("", schema, schema["$defs"], ())


def _below(path: str, part: Form, known: Form, inside: tuple[str, ...]) -> Iterator[tuple[str, Form, bool]]:
    """Yield the keys below a part; `inside` are the definitions that it is in, none of which is entered again."""
    for name, form in _forms(part, known):
        if name in inside:
            continue
        within = (*inside, name) if name else inside
        for key, value in form.get("properties", {}).items():
            if key in CATALOGUE:
                continue
            where = f"{path}.{key}".lstrip(".")
            yield where, {**_first(value, known), **value}, key in form.get("required", ())
            yield from _below(where, value, known, within)
        for below, step in ((form.get("items"), "[]"), (_any_name(form), ".<name>")):
            if isinstance(below, dict):
                yield from _below(f"{path}{step}", below, known, within)


def _any_name(form: Form) -> object:
    """Return what the schema says of the values of a mapping whose keys are chosen freely."""
    found = form.get("additionalProperties")
    patterns = form.get("patternProperties", {})
    return found if isinstance(found, dict) else next(iter(patterns.values()), None)


def _forms(part: Form, known: Form) -> Iterator[tuple[str, Form]]:
    """Yield the forms that a value may have, each with the name of its definition, if it has one."""
    if "$ref" in part:
        name = str(part["$ref"]).removeprefix("#/$defs/")
        yield from ((name, form) for _, form in _forms(known[name], known))
    elif "anyOf" in part:
        for alternative in part["anyOf"]:
            yield from _forms(alternative, known)
    else:
        yield "", part


def _first(part: Form, known: Form) -> Form:
    """Return the first form, which says what `part` itself leaves to it."""
    return next(form for _, form in _forms(part, known))


def _values(part: Form) -> str:
    known = json_schema()["$defs"]
    return " or ".join(dict.fromkeys(text for _, form in _forms(part, known) if (text := value_text(form))))


def _meaning(part: Form) -> str:
    return str(part.get("description", ""))

"""The JSON Schema that editors use, and the reference page, agree with what the loader takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from scenario_texts import VALID, changed, documents

from perfcheck.errors import ScenarioError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue.cost import is_cost
from perfcheck.model.causes import CAUSES
from perfcheck.model.metric import Phased
from perfcheck.scenario import json_schema, load_text
from perfcheck.scenario.reference import insert
from perfcheck.scenario.schema import known_keys, subschemas
from perfcheck.scenario.tree import plain
from perfcheck.scenario.yamltree import parse

ROOT: Final = Path(__file__).parents[2]
BAD: Final = ROOT / "tests" / "golden" / "scenarios_bad"
PAGE: Final = ROOT / "docs" / "scenario-file.md"

BEYOND_JSON_SCHEMA: Final = frozenset({
    # One key against another.
    "all-background", "command-unknown-host", "cost-of-anything", "load-layer-of-other-protocol",
    "congestion-twice", "duration-and-bytes", "emulator-none-with-delay",
    "link-to-itself", "link-twice", "link-unknown-host", "loss-model-incomplete", "matrix-breaks-the-path",
    "matrix-same-key-twice", "matrix-too-many", "matrix-unknown-key", "matrix-unknown-link", "matrix-value-twice",
    "matrix-bad-value", "matrix-blocked", "matrix-whole-block", "no-path", "queue-without-rate", "router-missing",
    "setup-open-quote", "setup-shell", "traffic-over-an-hour", "traffic-to-itself", "traffic-unknown-host",
    "udp-metric-of-tcp", "warmup-longer-than-default", "warmup-too-long", "warmup-with-bytes", "matrix-unknown-host",
    "policer-burst-too-small", "queue-target-of-drop-tail", "queue-target-over-interval", "schedule-and-trace",
    "schedule-changes-nothing", "schedule-out-of-order", "schedule-rate-from-nothing", "schedule-starts-with-nothing",
    "nat-no-neighbour", "nat-without-router", "via-does-not-forward", "via-goes-round", "via-no-neighbour",
    "via-unknown-host", "phase-unknown", "phases-out-of-order",
    # Numbers inside of texts.
    "delay-infinite", "loss-over-100", "queue-half-a-packet", "rate-zero",
    # Knowledge about the kernel, and words.
    "matrix-host-wide-sysctl", "sysctl-host-wide", "sysctl-path", "tag-with-comma",
    # What this machine has.
    "congestion-misspelt", "sysctl-misspelt", "trace-missing",
    # One value against another.
    "jitter-above-delay", "reorder-without-delay",
    # The YAML of it.
    "duplicate-host", "duplicate-key",
})  # fmt: skip


@pytest.fixture(scope="module", name="validator")
def make_validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def content(text: str) -> object:
    """Return a file's content as an editor's validator sees it."""
    return plain(parse(text, "x.yaml").root)


def test_the_schema_is_one(validator: jsonschema.Draft202012Validator) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_it_accepts_the_shipped_scenarios(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    found = content(path.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(found)] == []


def test_it_refuses_the_malformed_files_as_far_as_json_schema_goes(
    validator: jsonschema.Draft202012Validator,
) -> None:
    accepted = set()
    for path in BAD.glob("*.yaml"):
        try:
            found = plain(parse(path.read_text(encoding="utf-8"), path.name).root)
        except (ScenarioError, UnicodeDecodeError):
            continue  # no YAML document at all: an editor's parser tells
        if validator.is_valid(found):
            accepted.add(path.stem)
    assert accepted == BEYOND_JSON_SCHEMA


@settings(max_examples=50, deadline=None)
@given(documents())
def test_what_the_loader_takes_the_schema_takes(drawn: tuple[str, dict[str, Any]]) -> None:
    text, _ = drawn
    assert load_text(text, "x.yaml")
    jsonschema.Draft202012Validator(json_schema()).validate(content(text))


def test_every_metric_and_cause_is_known_to_editors() -> None:
    expect = json_schema()["properties"]["expect"]
    assert set(expect["properties"]) == {*CATALOGUE, "diagnosis"}
    assert set(json_schema()["properties"]["tolerance"]["properties"]) == set(CATALOGUE)
    assert expect["properties"]["diagnosis"]["enum"] == ["none", *CAUSES]
    for name, spec in CATALOGUE.items():
        assert spec.meaning in expect["properties"][name]["description"]


@pytest.mark.parametrize("name", sorted(name for name in CATALOGUE if not is_cost(name)))
def test_the_example_of_every_metric_can_stand_in_a_file(name: str) -> None:
    properties = json_schema()["properties"]
    line = properties["expect"]["properties"][name]["examples"][0]
    tolerance = properties["tolerance"]["properties"][name]["examples"][0]
    udp = name.startswith("udp.")
    key = f"{name}/after" if CATALOGUE[name].phased is Phased.ONLY else name
    text = changed(
        ("expect:\n", "phases: {before: 500ms, after: 1s}\nexpect:\n"),
        ('tcp.rtt_us.p50: "<= 60ms"', f'{key}: "{line}"'),
        ("duration: 2s", "duration: 2s, protocol: udp" if udp else "duration: 2s"),
    )
    [scenario] = load_text(f"{text}tolerance: {{{key}: {tolerance}}}\n", "x.yaml")
    assert scenario.expect[0].text == line
    assert scenario.tolerance_pct == {key: CATALOGUE[name].margin_pct}


@pytest.mark.parametrize("kind", ["stream", "requests", "connections", "datagrams"])
def test_the_examples_of_cost_can_stand_in_a_file_of_mode_cost(kind: str) -> None:
    properties = json_schema()["properties"]
    unit = {"stream": "byte", "requests": "request", "connections": "connection", "datagrams": "segment"}[kind]
    name = f"cpu.insns_per_{unit}"
    line = properties["expect"]["properties"][name]["examples"][0]
    load = f"{{from: a, to: b, kind: {kind}, count: 100, size: 100b}}"
    text = (
        f"scenario: cost\nhosts: {{a: {{}}, b: {{}}}}\nlinks: [{{between: [a, b]}}]\ntraffic: [{{load: {load}}}]\n"
        f"measure: {{mode: cost}}\nexpect: {{{name}: '{line}'}}\ntolerance: {{{name}: 0.5%}}\n"
    )
    [scenario] = load_text(text, "x.yaml")
    assert scenario.expect[0].text == line
    assert scenario.tolerance_pct == {name: 0.5}


def _described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, model in (("file", schema), *schema["$defs"].items()):
        for key, part in model["properties"].items():
            yield f"{name}.{key}", part


def test_every_key_has_a_description_an_example_and_a_default_in_the_files_words() -> None:
    schema = json_schema()
    for path, part in _described(schema):
        assert part.get("description"), path
        if path in ("file.expect", "file.tolerance") or "examples" in part:
            validator = jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]})
            for example in part["examples"]:
                assert validator.is_valid(example), (path, example)
            if part.get("default") is not None:
                assert validator.is_valid(part["default"]), (path, part["default"])
        else:
            pytest.fail(f"{path} has no example")


@pytest.mark.parametrize(
    ("written", "value"),
    [("links[0].delay", "5 ms"), ("links.0.loss", "1%"), ("server.congestion", "bbr"), ("client.router", "true"),
     ("hosts.client.sysctl.net.ipv4.tcp_sack", "1"), ("traffic[0].iperf3.streams", "4")],
)  # fmt: skip
def test_matrix_keys_that_the_loader_takes(
    written: str, value: str, validator: jsonschema.Draft202012Validator
) -> None:
    text = f"{VALID}matrix:\n  {written}: [{value}]\n"
    assert len(load_text(text, "x.yaml")) == 1
    assert validator.is_valid(content(text))


def test_known_keys_follow_references_and_alternatives() -> None:
    assert known_keys(("links", 3, "loss")) == ("model", "p", "r", "h", "k")
    assert "forward" in known_keys(("links", 0))
    assert "forward" not in known_keys(("links", 0, "forward"))
    assert known_keys(("hosts", "any", "sysctl")) == ()
    assert subschemas(("hosts", "Not A Host")) == []
    assert subschemas(("title", "deeper")) == []


# The reference page.


def test_the_pages_tables_are_the_schemas() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert insert(page) == page, "run: python -m perfcheck.scenario.reference docs/scenario-file.md"


def test_the_page_has_every_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path, _ in _described(json_schema()):
        assert f"| `{path.partition('.')[2]}` |" in page, path


def test_the_pages_examples_are_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        if block.startswith("scenario:"):
            assert load_text(block, "x.yaml")
        elif block.startswith("links:"):
            text = changed(
                ("client: {}", "home: {}"),
                ("server: {}", "provider: {}"),
                ("from: client, to: server", "from: home, to: provider"),
            )
            before, _, after = text.partition("links:")
            assert load_text(f"{before}{block}traffic:{after.partition('traffic:')[2]}", "x.yaml")
        else:
            assert set(yaml.safe_load(block)) == {"matrix"}
            assert len(load_text(VALID + block, "x.yaml")) == 4


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the markers"):
        insert("# A page\n")

"""What a load of each kind has: metrics of the catalogue, all of those that ask for a load."""

from __future__ import annotations

from typing import get_args

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue.cost import COST
from perfcheck.model.load_metrics import any_has, kinds_with
from perfcheck.model.traffic import LoadSpec

KINDS = get_args(LoadSpec.model_fields["kind"].annotation)


def test_every_metric_that_asks_for_a_load_is_of_some_kind_and_no_other() -> None:
    asking = {name for name, spec in CATALOGUE.items() if "load" in spec.needs} | {spec.name for spec in COST}
    assert asking == {name for name in CATALOGUE if kinds_with(name)}


def test_every_kind_has_a_metric_of_its_own() -> None:
    for kind in KINDS:
        assert any(any_has((kind,), name) for name in CATALOGUE if name.startswith("cpu.insns_"))
    assert kinds_with("app.duration_us") == KINDS
    assert kinds_with("app.latency_us.p99") == ("requests",)
    assert kinds_with("cpu.insns_per_segment") == ("stream", "datagrams")
    assert not any_has(("stream",), "app.latency_us.p99")

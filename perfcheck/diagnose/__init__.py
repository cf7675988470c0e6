"""From metrics to causes: rules are data (`rules/*.yaml`), everything after loading is pure."""

from __future__ import annotations

from perfcheck.diagnose.engine import Judgement, Outcome, RuleOutcome, SymptomOutcome, judge
from perfcheck.diagnose.entries import with_entries
from perfcheck.diagnose.listing import explain
from perfcheck.diagnose.loading import load_rules, read_fitted, read_rules
from perfcheck.diagnose.rule import Rule, Symptom
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.diagnose.verdicts import diagnose, posterior, records

__all__ = [
    "Judgement", "Outcome", "Rule", "RuleOutcome", "RuleSet", "Symptom", "SymptomOutcome", "diagnose", "explain",
    "judge", "load_rules", "posterior", "read_fitted", "read_rules", "records", "with_entries",
]  # fmt: skip

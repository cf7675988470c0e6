"""From metrics to causes: rules are data (`rules/*.yaml`), everything after loading is pure."""

from __future__ import annotations

from perfcheck.diagnose.account import account, account_again
from perfcheck.diagnose.chains import with_chains
from perfcheck.diagnose.engine import Judgement, Outcome, RuleOutcome, SymptomOutcome, judge
from perfcheck.diagnose.entries import with_entries
from perfcheck.diagnose.evaluation import Reading
from perfcheck.diagnose.listing import explain, explain_cause
from perfcheck.diagnose.loading import load_rules, read_fitted, read_rules
from perfcheck.diagnose.rule import Rule, Symptom
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.diagnose.sightings import Sightings, sightings, together
from perfcheck.diagnose.verdicts import diagnose, posterior, records

__all__ = [
    "Judgement", "Outcome", "Reading", "Rule", "RuleOutcome", "RuleSet", "Sightings", "Symptom", "SymptomOutcome",
    "account", "account_again", "diagnose", "explain", "explain_cause", "judge", "load_rules", "posterior",
    "read_fitted", "read_rules", "records", "sightings", "together", "with_chains", "with_entries",
]  # fmt: skip

"""Diagnoses a stored record again, by the rules of today; pure."""

from __future__ import annotations

from perfcheck.diagnose import Reading, RuleSet, Sightings
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import RunRecord
from perfcheck.runner.summary import diagnosed_entry, rediagnosed, with_fillers


def diagnosed_again(record: RunRecord, rules: RuleSet) -> RunRecord:
    """Return the record with the causes that these rules find, of the run and of each measured traffic entry.

    Chains and lines of the account that events or series showed are kept. A record without a valid trial is returned as
    it is: it has nothing to diagnose.
    """
    valid = [trial for trial in record.trials if trial.valid]
    if not valid or not record.metrics:
        return record
    known = catalogue_of(record)
    # A record of another version may have metrics that this one does not know.
    whole = {name: metric for name, metric in record.metrics.items() if name in known}
    trials = [
        trial.model_copy(update={"metrics": {name: value for name, value in trial.metrics.items() if name in known}})
        for trial in record.trials
    ]
    own = {name: subject.metrics for name, subject in record.subjects.items()}
    subjects = {}
    for name, subject in record.subjects.items():
        causes = former = subject.diagnosis
        if former:
            found = diagnosed_entry(name, rules, whole, subject.metrics, trials, known, Sightings(), former)
            causes = tuple(with_fillers(cause, name, own) for cause in found)
        subjects[name] = subject.model_copy(update={"diagnosis": causes})
    reading = Reading(
        metrics={name: metric.value for name, metric in whole.items()},
        trials=[trial.metrics for trial in trials if trial.valid],
    )
    return rediagnosed(record, rules, reading, subjects)

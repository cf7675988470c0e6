"""perfctl's engine: the collectors, subjects, events and diagnosis of perfcheck on a live machine, without a scenario."""

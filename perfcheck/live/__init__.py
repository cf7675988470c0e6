"""perfctl's engine: perfcheck's collectors, subjects, events and diagnosis on a live machine, without a scenario."""

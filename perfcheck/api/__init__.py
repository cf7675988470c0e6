"""The public API: scenarios, records and quantities for tests in Python. `perfcheck` itself gives the names."""

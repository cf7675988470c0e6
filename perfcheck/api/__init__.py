"""The public API: scenarios, records and quantities for tests in Python. Import the names from `perfcheck`."""

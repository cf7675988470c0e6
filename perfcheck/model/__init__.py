"""Frozen types that the stages exchange; imports only `errors` of the project."""

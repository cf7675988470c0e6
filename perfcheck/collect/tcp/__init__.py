"""The TCP layer: each connection's record."""

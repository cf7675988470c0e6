"""What collectors have in common."""

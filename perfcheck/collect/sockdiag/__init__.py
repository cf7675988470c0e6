"""sock_diag: the kernel's own figures of each connection."""

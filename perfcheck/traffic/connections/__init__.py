"""Short TCP connections, by a client and a server of perfcheck's own."""

"""What other programs take: Prometheus metrics, on an endpoint or as a text file, and Influx line protocol."""

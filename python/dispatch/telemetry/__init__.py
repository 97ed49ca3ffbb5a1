"""What operators see: log lines, Prometheus text."""

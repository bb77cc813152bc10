"""The spans and metrics that exist: their names, labels and meaning."""

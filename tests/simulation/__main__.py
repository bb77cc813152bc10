"""`python -m tests.simulation --seeds 10000`."""

"""One stream worker, the loop over the rules of delivery: poll, process, commit; states, crash journal, drain."""

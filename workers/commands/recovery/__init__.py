"""`sluicegate dlq` and `replay`: dead letters put back once, ranges read again."""

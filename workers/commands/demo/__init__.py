"""`sluicegate demo`: the whole path on this machine, and its census."""

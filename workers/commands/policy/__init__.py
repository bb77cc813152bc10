"""`sluicegate policy`: one module a verb, and what they show."""

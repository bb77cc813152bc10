"""`sluicegate check`: one probe a module; none changes anything."""

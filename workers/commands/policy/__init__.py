"""`sluicegate policy`: its verbs, and the comparisons, explanations and simulations that they print."""

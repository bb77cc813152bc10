"""The second tier: a guard LLM asked for labels and checks."""

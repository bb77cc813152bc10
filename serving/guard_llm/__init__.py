"""The second tier: a guard LLM that labels requests and checks drafts."""

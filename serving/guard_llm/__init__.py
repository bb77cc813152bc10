"""The second tier: a guard LLM, its prompts and questions, and the parsing of its answers."""

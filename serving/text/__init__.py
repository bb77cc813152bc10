"""Reading a text, for every guard: features, quotations, disguises, language, phrases."""

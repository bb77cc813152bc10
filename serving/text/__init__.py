"""Reading a text, whichever guard asks: features, quotations, wrappers, language, phrases."""

"""The door: an OpenAI-compatible HTTP way in. A request becomes an event; its answer is the audited response to it."""

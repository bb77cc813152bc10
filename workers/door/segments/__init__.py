"""Answers that are streamed while they are made: what is shown of them, and how it reaches the client."""

"""Batches of drafts, and calls to the pools of actors and models that check them."""

"""A policy's documents: thresholds, verdict rows and texts in each language; checks, overlays and signatures."""

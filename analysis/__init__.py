"""Experiments: one module a claim. `python -m analysis list|run|verify`."""

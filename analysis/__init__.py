"""Experiments: one module a claim. `python -m analysis list|run|verify`.

`analysis.framework.contract` says how to add an experiment.
"""

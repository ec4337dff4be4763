"""Figures: one module each, drawn from saved results alone. `python -m paper_figs list|plot|report|all`.

`paper_figs.framework.results` says how to add a figure.
"""

"""Measurements, not tests: `python -m bench` lists them. Figures in the docs come from here, with date and commit."""

"""Figures: each a function of a value; never computes what it shows."""

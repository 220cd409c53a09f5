"""Two cohorts or two periods: what is different, and what difference would have been seen."""

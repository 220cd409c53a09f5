"""Thresholds: chosen, carried, and what can be mended after training."""

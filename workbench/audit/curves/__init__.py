"""ROC and precision-recall curves, and gaps over thresholds, with bands."""

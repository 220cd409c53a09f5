"""Files to arrays and back, and the preparation a network's input gets. Knows nothing of patients or models."""

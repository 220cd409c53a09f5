"""Networks: architecture, training, prediction."""

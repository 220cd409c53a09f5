"""How far scores can be taken for probabilities: bins, smooth curves, and the error that chance makes."""

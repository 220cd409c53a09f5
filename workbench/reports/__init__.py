"""Pages and cards made from values."""

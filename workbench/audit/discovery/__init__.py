"""What nobody asked for by name: where a model is worst, what its embeddings know, and what it could take a shortcut by."""

"""From values and replicates to intervals, bands, gaps and p-values, each with its reason."""

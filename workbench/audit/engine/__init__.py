"""Replicates of every metric of every group, in compiled passes over the rows."""

"""Paired statistics on per-item scores: numpy only, so that a verdict starts at once."""

"""Judging predictions: metrics, pairing of files, comparison, and none of it needs a model."""

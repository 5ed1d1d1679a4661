"""Anatomy, processors and identity."""

"""Captions of pocket scenes: what they name, and what of it is not there."""

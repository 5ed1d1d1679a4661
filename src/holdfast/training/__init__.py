"""Tune one run: the loop, its checkpoints, and the folder that holds the truth."""

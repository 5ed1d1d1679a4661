"""Grids of runs: a folder of run folders whose index can be made again at any time."""

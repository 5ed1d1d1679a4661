"""Reparameterization methods: the change of a weight is written with fewer numbers."""

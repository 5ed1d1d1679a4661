"""Additive methods: small modules join the model, the base stays."""

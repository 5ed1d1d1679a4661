"""Fusions: edit ``tuned - base`` after training."""

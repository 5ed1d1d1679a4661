"""Stabilisers: terms and rules on top of any method so that general ability stays."""

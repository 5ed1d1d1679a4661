"""Selective methods: some of the weights change."""

"""Methods, stabilisers and fusions: one file each, one registry, one contract."""

"""Examples, the readers that make them, safe image loading and the collator."""

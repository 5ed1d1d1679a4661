"""Model inputs of examples: plain rows, or one row for all questions about an image."""

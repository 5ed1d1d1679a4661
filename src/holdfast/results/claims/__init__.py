"""Claims of the papers as data, and what a study says of each: supported, contradicted, or not resolved."""

"""Text processing that metrics share: tokenizers and answer normalisers."""

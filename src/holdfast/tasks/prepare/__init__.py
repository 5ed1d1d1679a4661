"""From an official download to Holdfast examples: one reader a layout, one writer for all."""

"""Official prediction and reference files, one file a layout, paired by id."""

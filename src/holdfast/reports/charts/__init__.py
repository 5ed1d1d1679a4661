"""Charts by hand as inline SVG, one kind a module: every text escaped, colours from the page, a table beside each."""

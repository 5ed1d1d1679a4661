"""The contract suite for methods of one's own: ``pytest --holdfast-contract my_package``."""

"""Labels: which pixels a person gave a class."""

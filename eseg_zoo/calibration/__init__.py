"""From logits to probabilities that mean something: confidence that fits, and the class frequencies of the data."""

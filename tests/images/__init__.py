"""Images of every kind are read as what they are, or refused in one line."""

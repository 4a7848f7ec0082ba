"""Where to label next: places that may be of the classes with the fewest strokes, unlike what is labelled."""

"""Where to label next: places that the network is unsure of, unlike what is labelled and unlike each other."""

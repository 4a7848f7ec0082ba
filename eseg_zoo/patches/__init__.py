"""What training sees of images: sections, anchors, patches, and how these are changed at random."""

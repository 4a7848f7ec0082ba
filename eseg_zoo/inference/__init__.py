"""From `model.pt` and images to class and probability maps."""

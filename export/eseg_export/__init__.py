"""From `model.pt` to a verified BioImage Model Zoo package."""

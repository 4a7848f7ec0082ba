"""From a run file to `model.pt`."""

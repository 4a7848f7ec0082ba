"""Looking before a training, without torch: the settings there are, a run to begin with, and what will hurt."""

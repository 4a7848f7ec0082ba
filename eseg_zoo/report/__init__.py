"""The report of a training: what it was given, what came of it, and how good that is, as one page of HTML."""

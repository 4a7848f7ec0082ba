"""Which software runs a package: the consumers as data, the rules that read them, and the verdicts."""

"""What stands between a finished package and its acceptance by the zoo's reviewers; nothing is changed by looking."""

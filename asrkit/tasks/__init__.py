"""What each command does, as a function of frozen options."""

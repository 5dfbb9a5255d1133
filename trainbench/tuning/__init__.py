"""The search for the levers and the batch that train fastest, and the table of what each lever does."""

# The time for all runs of a session, where none is asked for.
MINUTES = 30.0

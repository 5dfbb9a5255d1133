"""The result record, and its files."""

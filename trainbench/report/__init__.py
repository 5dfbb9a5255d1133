"""What the user sees: reads records, measures nothing."""

"""What others published, and how it compares."""

"""Compiled programs as XLA writes them: what is in them, how often it runs, what devices send each other."""

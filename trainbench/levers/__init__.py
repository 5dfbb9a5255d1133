"""Levers: ways of computing the same training step that may be faster, one module each."""

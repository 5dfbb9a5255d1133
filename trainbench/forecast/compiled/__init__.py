"""Forecasts: what a compiled program says of its operations."""

"""Forecasts: how long a compiled program takes, and how well published figures bear that out."""

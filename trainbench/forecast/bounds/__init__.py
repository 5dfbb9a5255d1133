"""Forecasts: bounds where nothing is compiled."""

"""Forecasts: the tables of them in the documents."""

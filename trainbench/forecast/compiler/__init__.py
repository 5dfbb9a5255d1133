"""Forecasts: the compilers of absent accelerators, and what they are asked."""

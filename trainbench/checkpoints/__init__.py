"""Saving the training state while it trains, and going on from it."""

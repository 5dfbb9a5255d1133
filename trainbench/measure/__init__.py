"""Times any callable and says how far the figure can be trusted; knows no model."""

"""The Hydra configuration tree, found from any working directory because it is part of the package."""

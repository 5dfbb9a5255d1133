"""Batches on their way to the device: synthetic, TFDS, feeding."""

"""What some tests need that is not always installed."""

import importlib.util

import pytest

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None

needs_tensorflow = pytest.mark.skipif(
    not HAS_TENSORFLOW, reason="TensorFlow is not installed: make test-tensorflow"
)
without_tensorflow = pytest.mark.skipif(
    HAS_TENSORFLOW, reason="TensorFlow is installed, and nothing is missing"
)

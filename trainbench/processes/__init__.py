"""Benchmarks in processes of their own: sweeps, searches for a batch size, A/B runs."""

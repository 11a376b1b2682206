"""Tests that need h5mapper 0.3, and so NumPy 1.26."""

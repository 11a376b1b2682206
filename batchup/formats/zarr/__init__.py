"""Zarr stores whose arrays are columns."""

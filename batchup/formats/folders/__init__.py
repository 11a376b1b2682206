"""Folders in which each file is a row: images, and sounds."""

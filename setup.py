"""A door to pyproject.toml for tools that still knock here."""

from setuptools import setup

setup()

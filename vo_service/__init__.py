"""Publish an observatory's FITS archive in the Virtual Observatory."""

__all__ = ["__version__"]

__version__ = "0.1.0"

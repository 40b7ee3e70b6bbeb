"""FITS files into frames: walk, read headers, map by a collection's rules. No database here."""

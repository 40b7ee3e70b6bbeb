"""Cutouts of images: from header and stencil to the bytes of a new FITS file or picture.

Stands above `ingest` in the layers, not beside it: the WCS of an image is read in one way only,
for its footprint (`ingest.sky`, `ingest.axes`) and for its cutouts.
"""

"""Rotations between coordinate systems, for ``ivo_geom_transform``.

Names are those of the IVOA vocabulary of reference frames: FK5 is J2000, FK4 is B1950 without
the E-terms of aberration (with them it is no rotation), ECLIPTIC is the mean ecliptic of
J2000. Source: EN 1.2, "ivo_geom_transform"; the rotations are astropy's.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from astropy.coordinates import (
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    CartesianRepresentation,
    FK4NoETerms,
    Galactic,
)

__all__ = ["FRAMES", "euler_angles"]

FRAMES = {
    "ICRS": ICRS(),
    "GALACTIC": Galactic(),
    "FK5": FK5(equinox="J2000"),
    "FK4": FK4NoETerms(equinox="B1950"),
    "ECLIPTIC": BarycentricMeanEcliptic(equinox="J2000"),
}


@cache
def euler_angles(source: str, target: str) -> tuple[float, float, float]:
    """The turns about the z, x and z axes, one after the other, that lead to another frame.

    Returns
    -------
    phi, theta, psi
        Radians, as pgSphere's ``strans(phi, theta, psi)`` takes them.

    Raises
    ------
    ValueError
        An unknown frame.
    """
    for name in (source, target):
        if name not in FRAMES:
            raise ValueError(f"no frame '{name[:40]}', expected one of {', '.join(FRAMES)}")
    axes = FRAMES[source].realize_frame(CartesianRepresentation(np.eye(3)))
    # Column i is where axis i comes to lie.
    matrix = axes.transform_to(FRAMES[target]).cartesian.xyz.value
    theta = math.atan2(math.hypot(matrix[2, 0], matrix[2, 1]), matrix[2, 2])
    if math.sin(theta) < 1e-14:
        return math.atan2(matrix[1, 0], matrix[0, 0]), 0.0, 0.0
    phi = math.atan2(matrix[2, 0], matrix[2, 1])
    psi = math.atan2(matrix[0, 2], -matrix[1, 2])
    return phi, theta, psi

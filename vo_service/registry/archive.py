"""What records are built from: everything known of an archive, as one value.

Units: spectral coverage in metres here, as ObsCore has it; records hold joules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vo_service.registry.description import CollectionText, PublisherText

__all__ = ["ArchiveFacts", "CollectionFacts", "Coverage", "ServiceFacts"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where, when and at which wavelengths the public rows of a collection are.

    *spatial* is an ASCII MOC (ICRS), *temporal* holds (first, last) in MJD, *spectral* (shortest,
    longest) in metres; what is not known is None or empty.
    """

    spatial: str | None = None
    temporal: tuple[tuple[float, float], ...] = ()
    spectral: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """A collection: what its file says, what its registry file adds, what its rows cover.

    *products* are the dataproduct_types of its public rows, *hips* addresses of its sky images.
    """

    name: str
    title: str
    description: str
    facilities: Sequence[str]
    instruments: Sequence[str]
    text: CollectionText
    coverage: Coverage
    products: frozenset[str] = frozenset()
    hips: Sequence[str] = ()

    @property
    def shown_coverage(self) -> Coverage:
        """What it covers: what the operator says stands for what was found."""
        said, found = self.text.coverage, self.coverage
        return Coverage(
            spatial=said.spatial or found.spatial,
            temporal=found.temporal if said.temporal is None else said.temporal,
            spectral=found.spectral if said.spectral is None else said.spectral,
        )

    @property
    def shown_title(self) -> str:
        """The title that records give it."""
        return self.text.title or self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """A service of this server.

    Parameters
    ----------
    key
        Last part of its identifier.
    name
        What it does, for a title: ``ADQL queries (TAP)``.
    capabilities
        Its VOSI capabilities document.
    tables
        The elements below its tableset, as XML; None where it has no tables of its own.
    products
        The dataproduct_types that it finds; None for all.
    """

    key: str
    name: str
    capabilities: bytes
    tables: bytes | None = None
    products: frozenset[str] | None = None

    def serves(self, collection: CollectionFacts) -> bool:
        """Whether it finds anything of a collection."""
        return self.products is None or not self.products.isdisjoint(collection.products)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """The archive.

    *root_url* has no slash at its end; *harvesting* is the registry's VOSI capabilities document.
    """

    authority: str
    publisher: str
    contact: str
    root_url: str
    text: PublisherText
    services: Sequence[ServiceFacts]
    harvesting: bytes
    collections: Sequence[CollectionFacts]

    def ivoid(self, *path: str) -> str:
        """The identifier of a record of this archive; of the authority without a path."""
        return "/".join((f"ivo://{self.authority}", *path))

    def own(self, key: str) -> str:
        """The identifier of what is the archive's own: no collection can be called so."""
        return self.ivoid("system", key)

"""Facts of an archive, made up, for tests of records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vo_service.formats.vosi import tableset_elements
from vo_service.model.published import PUBLISHED
from vo_service.model.table import Catalog
from vo_service.registry.archive import ArchiveFacts, CollectionFacts, Coverage, ServiceFacts
from vo_service.registry.description import CollectionText, PublisherText
from vo_service.services.capabilities import SERVICES, registry_capabilities
from vo_service.settings import Settings

__all__ = ["collection", "facts"]

COVERAGE = Coverage("6/0-3", ((57000.0, 57010.0),), ((4e-7, 8e-7),))


def collection(name: str = "tomoe", **changed: Any) -> CollectionFacts:
    plain = CollectionFacts(
        name=name, title="Tomo-e Gozen", description="Movies of the sky", facilities=["Kiso"],
        instruments=["Tomo-e Gozen"], text=CollectionText(), coverage=COVERAGE,
        products=frozenset({"image", "spectrum"}),
    )  # fmt: skip
    return replace(plain, **changed)


def facts(
    *collections: CollectionFacts,
    publisher: str = "The observatory",
    text: PublisherText | None = None,
    catalog: Catalog = PUBLISHED,
) -> ArchiveFacts:
    settings = Settings(home=Path("/nowhere"), base_url="https://archive.example.org")
    tables = tableset_elements(catalog)
    services = [
        ServiceFacts(
            key=service.key,
            name=service.name,
            capabilities=service.capabilities(settings),
            tables=tables if service.key == "tap" else None,
            products=service.products,
        )
        for service in SERVICES
    ]
    return ArchiveFacts(
        authority="archive.example.org",
        publisher=publisher,
        contact="archive@example.org",
        root_url=settings.root_url,
        text=text or PublisherText(),
        services=services,
        harvesting=registry_capabilities(settings),
        collections=collections,
    )

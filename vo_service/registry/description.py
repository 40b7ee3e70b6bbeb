"""What a publisher says of itself and of its collections: the files of ``registry/``.

``publisher.yaml`` tells of authority, organisation, contacts, licence and the TAP service,
``collections/<name>.yaml`` of a collection. Everything has a default, so an archive without a
single file has valid records, if dull ones. `docs/registry.md` is for the one who writes them.
Source: VOResource 1.2; VODataService 1.2; the vocabularies that they name.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from mocpy import MOC
from pydantic import AfterValidator, Field, field_validator, model_validator

from vo_service.model.release import Words, Written
from vo_service.model.written_file import read_written

__all__ = [
    "Address",
    "CollectionText",
    "Contact",
    "Creator",
    "Email",
    "PublisherText",
    "Relation",
    "Rights",
    "Text",
    "load_collection_text",
    "load_publisher_text",
]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def _words(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise ValueError("expected some text")
    if _CONTROL.search(text):
        raise ValueError("expected text without control characters (XML cannot hold them)")
    return text


def _short(text: str) -> str:
    text = _words(text)
    if len(text) > 16:
        raise ValueError("expected 16 characters at most (VOResource, shortName)")
    return text


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError("expected an address that starts with https:// or http:// (VOResource)")
    return text


def _ivoid(text: str) -> str:
    if not re.fullmatch(r"ivo://[A-Za-z0-9][\w.~*'()+=!-]{2,}(/[!-~]*)?", text, re.ASCII) or (
        "?" in text or "#" in text
    ):
        raise ValueError("expected an IVOID, ivo://authority/path without ? and # (Identifiers)")
    return text


def _subject(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9'.()]+)*", text):
        raise ValueError(
            "expected a term of the Unified Astronomy Thesaurus as the IVOA writes it, such as "
            "galaxy-clusters (VOResource, subject)"
        )
    return text


def _bibcode(text: str) -> str:
    if not re.fullmatch(r"[12][0-9]{3}[A-Za-z.&]{5}[A-Za-z0-9.:&]{10}", text):
        raise ValueError("expected a bibcode of 19 characters, such as 2018PASJ...70S...1A")
    return text


def _doi(text: str) -> str:
    found = re.fullmatch(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.[0-9]{4,9}/[!-~]+)", text)
    if not found:
        raise ValueError("expected a DOI such as 10.5281/zenodo.1234 (VOResource, altIdentifier)")
    return f"doi:{found[1]}"


def _orcid(text: str) -> str:
    digits = text.removeprefix("https://orcid.org/")
    if not re.fullmatch(r"[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]", digits):
        raise ValueError("expected an ORCID such as 0000-0002-1825-0097")
    return f"https://orcid.org/{digits}"


def _mail(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text):
        raise ValueError("expected an e-mail address")
    return text


Text = Annotated[str, AfterValidator(_words)]
ShortName = Annotated[str, AfterValidator(_short)]
Address = Annotated[str, AfterValidator(_address)]
Email = Annotated[str, AfterValidator(_mail)]
Ivoid = Annotated[str, AfterValidator(_ivoid)]
Subjects = tuple[Annotated[str, AfterValidator(_subject)], ...]
Bibcode = Annotated[str, AfterValidator(_bibcode)]
Doi = Annotated[str, AfterValidator(_doi)]
Orcid = Annotated[str, AfterValidator(_orcid)]

#: http://www.ivoa.net/rdf/voresource/content_type
ContentType = Literal[
    "Other", "Archive", "Bibliography", "Catalog", "Journal", "Library", "Simulation", "Survey",
    "Transformation", "Education", "Outreach", "EPOResource", "Animation", "Artwork",
    "Background", "BasicData", "Historical", "Photographic", "Press", "Organisation", "Project",
    "Registry",
]  # fmt: skip
#: http://www.ivoa.net/rdf/voresource/content_level
ContentLevel = Literal[
    "General", "Elementary Education", "Middle School Education", "Secondary Education",
    "Community College", "University", "Research", "Amateur", "Informal Education",
]  # fmt: skip
#: http://www.ivoa.net/rdf/voresource/relationship_type
RelationType = Literal[
    "Cites", "IsSupplementTo", "IsSupplementedBy", "IsContinuedBy", "Continues",
    "IsNewVersionOf", "IsPreviousVersionOf", "IsPartOf", "HasPart", "IsSourceOf",
    "IsDerivedFrom", "IsIdenticalTo", "IsServiceFor", "IsServedBy",
]  # fmt: skip
#: http://www.ivoa.net/rdf/voresource/date_role
DateRole = Literal[
    "Accepted", "Available", "Collected", "Copyrighted", "Created", "Issued", "Submitted",
    "Updated", "Valid", "Withdrawn",
]  # fmt: skip
#: http://www.ivoa.net/rdf/messenger
Messenger = Literal[
    "Radio", "Millimeter", "Infrared", "Optical", "UV", "EUV", "X-ray", "Gamma-ray", "Photon",
    "Neutrino", "Gravitational", "Neutron", "Proton", "Electron", "Cosmic-ray",
]  # fmt: skip


class Contact(Written):
    """Whom to ask; *email* may be seen by everybody."""

    name: Text
    email: Email | None = None
    address: Text | None = None
    telephone: Text | None = None


class Creator(Written):
    """Who made the data, ``Last, F.``."""

    name: Text
    orcid: Orcid | None = None
    logo: Address | None = None


class Rights(Written):
    """On what conditions data may be used; *url* is the licence's own address."""

    text: Text
    url: Address | None = None


class Relation(Written):
    """Another resource and how ours is related to it."""

    type: RelationType
    title: Text
    ivoid: Ivoid | None = None


class DateText(Written):
    """A day that matters."""

    day: date = Field(alias="date")
    role: DateRole


class Described(Written):
    """What may be said of any resource."""

    title: Text | None = None
    short_name: ShortName | None = None
    description: Text | None = None
    subjects: Subjects = ()
    reference_url: Address | None = None


class OrganisationText(Described):
    """Who publishes; *facilities* and *instruments* are what it runs, *ror* its ROR."""

    facilities: Words = ()
    instruments: Words = ()
    ror: Annotated[str, Field(pattern=r"^https://ror\.org/0[a-z0-9]{8}$")] | None = None


class PublisherText(Written):
    """All of ``publisher.yaml``; what is said of a service stands under its key."""

    authority: Described = Described()
    organisation: OrganisationText = OrganisationText()
    contacts: tuple[Contact, ...] = ()
    creators: tuple[Creator, ...] = ()
    rights: Rights | None = None
    tap: Described = Described()
    sia2: Described = Described()
    sia: Described = Described()
    scs: Described = Described()
    ssa: Described = Described()
    datalink: Described = Described()
    soda: Described = Described()

    def service(self, key: str) -> Described:
        """What is said of a service."""
        said: Described = getattr(self, key, Described())
        return said


class CoverageText(Written):
    """What the archive's rows say is not right for: it stands instead of that.

    *spatial* is an ASCII MOC (ICRS), *temporal* pairs of MJD (TDB), *spectral* pairs of
    wavelengths in metres.
    """

    spatial: Text | None = None
    temporal: tuple[tuple[float, float], ...] | None = None
    spectral: tuple[tuple[float, float], ...] | None = None
    wavebands: tuple[Messenger, ...] = ("Optical",)
    region_of_regard: float | None = Field(None, gt=0, le=180)

    @field_validator("spatial")
    @classmethod
    def _moc(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                MOC.from_string(text)
            except (ValueError, OSError) as error:
                raise ValueError(f"expected an ASCII MOC such as 6/13-15 ({error})") from error
        return text

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, pairs in (("temporal", self.temporal), ("spectral", self.spectral)):
            for low, high in pairs or ():
                if not low <= high or (name == "spectral" and low <= 0):
                    raise ValueError(f"{name}: expected the lower limit first, found {low}, {high}")
        return self


class CollectionText(Described):
    """All of ``collections/<name>.yaml``; what is missing comes from the collection file."""

    register_it: bool = Field(True, alias="register", strict=True)
    types: tuple[ContentType, ...] = ("Archive",)
    levels: tuple[ContentLevel, ...] = ("Research",)
    creators: tuple[Creator, ...] = ()
    contributors: Words = ()
    contacts: tuple[Contact, ...] = ()
    dates: tuple[DateText, ...] = ()
    version: Text | None = None
    bibcode: Bibcode | None = None
    doi: Doi | None = None
    rights: Rights | None = None
    relations: tuple[Relation, ...] = ()
    coverage: CoverageText = CoverageText()


def load_publisher_text(path: Path) -> PublisherText:
    """Read ``publisher.yaml``.

    Raises
    ------
    ConfigError
        Names the file, the field, what was expected and what was found.
    """
    return read_written(
        path, PublisherText, whole="publisher", fields="organisation, contacts and rights"
    )


def load_collection_text(path: Path) -> CollectionText:
    """Read ``collections/<name>.yaml``; errors as in `load_publisher_text`."""
    return read_written(
        path, CollectionText, whole="collection", fields="title, subjects and rights"
    )

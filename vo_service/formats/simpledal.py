"""VOSI capabilities of services whose parameters come in pairs: SIA, cone search, SSA.

Source: SimpleDALRegExt 1.2; VODataService 1.2, "ParamHTTP". Element order is that of the schemas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lxml import etree

from vo_service.formats.vosi import add_interface, add_vosi, capabilities_root
from vo_service.formats.xmltext import add, document

__all__ = ["Capability", "Parts", "protocol_capabilities"]

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_EXAMPLES = "ivo://ivoa.net/std/DALI#examples"

#: Elements by name, in the order of their schema: text, or further elements.
Parts: TypeAlias = "Sequence[tuple[str, str | Parts]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a service of parameters in, table out, can do (SimpleDALRegExt 1.2).

    Parameters
    ----------
    standard_id, access_url, version, result_type
        What it is, where it is, and the media type of its answers.
    kind, parts
        The type that SimpleDALRegExt gives it, None where it has none, and its elements.
    """

    standard_id: str
    access_url: str
    version: str
    result_type: str
    kind: str | None = None
    parts: Parts = ()


def protocol_capabilities(
    base_url: str, capability: Capability, *, examples: bool = False
) -> bytes:
    """The VOSI capabilities document of a service with one capability and its VOSI endpoints.

    Parameters
    ----------
    base_url
        Of the VOSI endpoints, without a slash at the end.
    capability
        What the service is.
    examples
        Whether it has the examples endpoint.
    """
    root = capabilities_root()
    _add_protocol(root, capability)
    add_vosi(root, base_url, "capabilities", "availability")
    if examples:
        described = add(root, "capability", standardID=_EXAMPLES)
        add_interface(described, "vr:WebBrowser", f"{base_url}/examples", "full")
    return document(root)


def _add_protocol(root: etree._Element, given: Capability) -> None:
    kind = {_TYPE: given.kind} if given.kind else {}
    capability = add(root, "capability", **kind, standardID=given.standard_id)
    interface = add_interface(
        capability, "vs:ParamHTTP", given.access_url, "base", role="std", version=given.version
    )
    add(interface, "resultType", given.result_type)
    _add_parts(capability, given.parts)


def _add_parts(element: etree._Element, parts: Parts) -> None:
    for name, content in parts:
        if isinstance(content, str):
            add(element, name, content)
        else:
            _add_parts(add(element, name), content)

"""The simple protocols and where they are: SIA 2, SIA 1, cone search, SSA, counts by position."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount

from vo_service.services.elsewhere import ElsewhereService
from vo_service.services.scs import ConeService
from vo_service.services.sia1 import OldImageService
from vo_service.services.sia2 import ImageService
from vo_service.services.ssa import SpectrumService
from vo_service.services.tap import TapService
from vo_service.settings import Settings
from vo_service.web.elsewhere import elsewhere_app
from vo_service.web.old_searches import sia1_app, ssa_app
from vo_service.web.scs import scs_app
from vo_service.web.sia2 import sia2_app

__all__ = ["simple_protocols"]


def simple_protocols(settings: Settings, tap: TapService) -> list[BaseRoute]:
    """Their mounts; what they find is what *tap* lets the one who asks read."""
    return [
        Mount("/sia2", sia2_app(settings, ImageService(settings, tap))),
        Mount("/sia", sia1_app(settings, OldImageService(settings, tap))),
        Mount("/scs", scs_app(settings, ConeService(settings, tap))),
        Mount("/ssa", ssa_app(settings, SpectrumService(settings, tap))),
        Mount("/elsewhere", elsewhere_app(settings, ElsewhereService(settings, tap))),
    ]

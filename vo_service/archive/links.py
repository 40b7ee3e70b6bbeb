"""The public tree: a file is published when a symbolic link to it exists, and only then.

``<public>/<collection>/<path>`` is a link to the file in its storage root; directories are
real. A link appears and changes in one step (made under another name, then renamed), so a
reader sees the old target, the new one, or nothing. Nothing is ever copied (MISSION A3).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from vo_service.errors import ConfigError, VOError

__all__ = ["LinkTree"]


class LinkTree:
    """Links of all collections below one directory."""

    def __init__(self, public: Path) -> None:
        self._public = public

    def place(self, collection: str, path: str) -> Path:
        """Where the link of a product stands.

        Raises
        ------
        VOError
            If the path would leave the collection's part of the tree.
        """
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise VOError(f"{collection}: {path!r} is not a path below the collection")
        return self._public.joinpath(collection, *parts)

    def publish(self, collection: str, path: str, source: str) -> bool:
        """Make or renew a link; False if it was there already.

        Raises
        ------
        ConfigError
            If the file is gone or something that is no link stands in the place.
        """
        link = self.place(collection, path)
        if os.path.islink(link) and os.readlink(link) == source:
            return False
        if not os.path.isfile(source):
            raise ConfigError(f"{source}: cannot be published: there is no such file")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.exists() and not link.is_symlink():
            raise ConfigError(f"{link}: cannot be published: something that is no link is there")
        fresh = link.with_name(f".{secrets.token_hex(8)}.new")
        os.symlink(source, fresh)
        os.replace(fresh, link)
        return True

    def withdraw(self, collection: str, path: str) -> bool:
        """Remove a link; False if there was none."""
        link = self.place(collection, path)
        try:
            os.unlink(link)
        except FileNotFoundError:
            return False
        return True

    def links(self, collection: str) -> Iterator[str]:
        """Paths of all links of a collection, in no order."""
        top = self._public / collection
        for directory, _, names in os.walk(top):
            for name in names:
                place = os.path.join(directory, name)
                if os.path.islink(place) and not name.startswith("."):
                    yield os.path.relpath(place, top)

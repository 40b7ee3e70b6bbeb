"""A database at the newest schema, with frames all over the sky."""

from __future__ import annotations

from tests.db.conftest import settings  # noqa: F401 - a fixture
from tests.db.test_plans import sky  # noqa: F401 - a fixture

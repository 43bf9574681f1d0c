"""Every table of Tanuki, and the migrations that create them."""

from pathlib import Path

import tanuki
import tanuki.animals.search.index
import tanuki.animals.tables
import tanuki.platform.accounts
import tanuki.platform.audit_log
import tanuki.platform.event_log
import tanuki.platform.jobs
import tanuki.platform.mlops.tables
import tanuki.platform.rate_limit
import tanuki.platform.warehouse
import tanuki.shop.tables
from tanuki.platform.database.engine import Base
from tanuki.platform.database.migrations import Migrations

MIGRATIONS = Migrations(Path(tanuki.__file__).parent / "migrations", Base.metadata)

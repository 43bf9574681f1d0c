"""Every table of Tanuki, imported so that the metadata is whole; for migrations and for tests."""

import tanuki.animals.search.index
import tanuki.animals.tables
import tanuki.platform.accounts
import tanuki.platform.audit_log
import tanuki.platform.event_log
import tanuki.platform.jobs
import tanuki.platform.mlops.tables
import tanuki.platform.rate_limit
import tanuki.platform.warehouse
import tanuki.shop.tables  # noqa: F401

"""Every table of Tanuki, imported so that the metadata is whole; for migrations and for tests."""

import tanuki.animals.tables
import tanuki.animals.text.index
import tanuki.platform.accounts
import tanuki.platform.events
import tanuki.platform.limits
import tanuki.platform.models.tables
import tanuki.platform.trail
import tanuki.platform.warehouse
import tanuki.platform.workflows
import tanuki.shop.tables  # noqa: F401

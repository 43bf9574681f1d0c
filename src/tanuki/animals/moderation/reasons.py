"""Why something is reported, and what moderators can do about it: codes, their words, how urgent they are. Changing a line here needs no training."""

from typing import NamedTuple

from tanuki.i18n import msgid


class Reason(NamedTuple):
    """What is wrong with something, in words, and how much a report of it moves its case forward in the queue."""

    label: str
    weight: float


REASONS = {
    "cruelty": Reason(msgid("Cruelty to an animal"), 5.0),
    "blood": Reason(msgid("Blood or injury"), 3.0),
    "nudity": Reason(msgid("Nudity"), 4.0),
    "harassment": Reason(msgid("Harassment of somebody"), 4.0),
    "personal_data": Reason(msgid("Shows somebody’s personal data"), 4.0),
    "stolen": Reason(msgid("Somebody else’s picture or words"), 2.0),
    "spam": Reason(msgid("Advertising or spam"), 1.0),
    "not_an_animal": Reason(msgid("Not an animal"), 1.0),
    "other": Reason(msgid("Something else"), 1.0),
}
HELD_WEIGHT = 2.0  # of a post that a rule holds: its owner waits

KEEP, HOLD, REMOVE, RESTORE, WARN, BAN, UNBAN = (
    "keep",
    "hold",
    "remove",
    "restore",
    "warn",
    "ban",
    "unban",
)
ACTIONS = {
    KEEP: msgid("Nothing is wrong"),
    HOLD: msgid("Hold it"),
    REMOVE: msgid("Remove it"),
    RESTORE: msgid("Restore it"),
    WARN: msgid("Warn the member"),
    BAN: msgid("Ban the member"),
    UNBAN: msgid("Lift the ban"),
}
ACTIONS_BY_SUBJECT = {
    "post": (KEEP, HOLD, REMOVE, RESTORE, WARN, BAN),
    "comment": (KEEP, REMOVE, RESTORE, WARN, BAN),
    "member": (KEEP, WARN, BAN, UNBAN),
}
APPEALABLE_ACTIONS = (HOLD, REMOVE, WARN, BAN)  # decisions that somebody can appeal against

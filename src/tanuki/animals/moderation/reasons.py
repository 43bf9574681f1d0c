"""Reasons for reports and decisions, and what moderators can do with each kind of subject.

The codes are stored, their texts are translated when they are shown.
"""

from typing import NamedTuple

from tanuki.animals.tables import Action, SubjectKind
from tanuki.i18n import msgid


class Reason(NamedTuple):
    """The text of a reason, and how far a report of it moves its case up in the queue."""

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
HELD_POST_WEIGHT = 2.0  # of a post that a rule holds: its owner waits for the decision

ACTIONS = {
    Action.KEEP: msgid("Nothing is wrong"),
    Action.HOLD: msgid("Hold it"),
    Action.REMOVE: msgid("Remove it"),
    Action.RESTORE: msgid("Restore it"),
    Action.WARN: msgid("Warn the member"),
    Action.BAN: msgid("Ban the member"),
    Action.UNBAN: msgid("Lift the ban"),
}
ACTIONS_BY_SUBJECT = {
    SubjectKind.POST: (
        Action.KEEP,
        Action.HOLD,
        Action.REMOVE,
        Action.RESTORE,
        Action.WARN,
        Action.BAN,
    ),
    SubjectKind.COMMENT: (Action.KEEP, Action.REMOVE, Action.RESTORE, Action.WARN, Action.BAN),
    SubjectKind.MEMBER: (Action.KEEP, Action.WARN, Action.BAN, Action.UNBAN),
}
APPEALABLE_ACTIONS = (Action.HOLD, Action.REMOVE, Action.WARN, Action.BAN)

"""Moderation: reports, decisions with a reason, appeals, and the moderators' audit log."""

"""Moderation: members report, moderators decide with a reason, owners appeal, another moderator answers, and a trail keeps it all."""

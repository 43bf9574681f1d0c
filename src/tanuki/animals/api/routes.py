"""The routers of the API."""

from tanuki.animals.api import (
    assist,
    impressions,
    me,
    members,
    moderation,
    posts,
    search,
    similarity,
)

routers = [
    subject.router
    for subject in (posts, assist, search, similarity, impressions, members, me, moderation)
]

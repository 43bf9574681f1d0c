"""Every route of the network for programs."""

from fastapi import APIRouter

from tanuki.animals.api import assist, impressions, me, members, moderation, posts, search, similar

router = APIRouter()
for subject in (posts, assist, search, similar, impressions, members, me, moderation):
    router.include_router(subject.router)

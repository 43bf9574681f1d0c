"""Every route of the network for programs."""

from fastapi import APIRouter

from tanuki.animals.api import assist, finding, me, members, moderation, posts, seen, similar

router = APIRouter()
for subject in (posts, assist, finding, similar, seen, members, me, moderation):
    router.include_router(subject.router)

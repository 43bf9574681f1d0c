"""Every route of the network for programs."""

from fastapi import APIRouter

from tanuki.animals.api import finding, me, members, moderation, posts, seen

router = APIRouter()
for subject in (posts, finding, seen, members, me, moderation):
    router.include_router(subject.router)

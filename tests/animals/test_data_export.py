"""One's data as an archive: everything of one's own, of others their names only, made while it is read."""

import io
import json
import tracemalloc
import zipfile
from datetime import timedelta

import pytest
from sqlalchemy import insert

from tanuki.animals import data_export, engagement, members
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.tables import Comment, Post
from tanuki.errors import NotFound
from tanuki.platform import maintenance, sessions, tokens
from tests.factories.http_clients import PASSWORD
from tests.factories.members_and_posts import (
    NOW,
    make_member,
    make_photo,
    make_picture,
    make_post,
    make_staff,
)


def taken(res, who, now=NOW):
    """The archive's files by name; JSON read."""
    whole = zipfile.ZipFile(
        io.BytesIO(b"".join(data_export.stream_own_archive(res.db, res.objects, who, now=now)))
    )
    assert whole.testzip() is None
    return {
        name: json.loads(whole.read(name)) if name.endswith(".json") else whole.read(name)
        for name in whole.namelist()
    }


def do(res, what, *given, **more):
    with res.db.write() as db:
        return what(db, *given, now=NOW, **more)


@pytest.fixture
def life(resources):
    """Ann with a little of everything, and Ben, who wrote and did things to her."""
    ann, ben, mod = (
        make_member(resources, "ann"),
        make_member(resources, "ben"),
        make_staff(resources, "mod"),
    )
    mine = make_post(
        resources,
        ann,
        title="柴犬 Rex",
        description="My dog",
        tags=("しば",),
        category="dog",
        breed="shiba",
        seed=1,
    )
    held = make_post(resources, ann, title="Held", state="held", seed=2)
    theirs = make_post(resources, ben, title="Secret title of Ben", seed=3)
    do(resources, engagement.like_post, ann, theirs.id)
    do(resources, engagement.like_post, ben, mine.id)
    do(resources, engagement.add_comment, ann, theirs.id, "Nice <cat>", key="a")
    do(resources, engagement.add_comment, ben, mine.id, "Words of Ben", key="b")
    do(resources, engagement.follow_member, ann, "ben")
    do(resources, engagement.follow_member, ben, "ann")
    do(resources, members.block_member, ann, "ben", "mute")
    do(
        resources,
        cases.report_subject,
        ann,
        SubjectRef("post", theirs.id),
        "spam",
        "It is an advertisement.",
    )
    made = do(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("post", mine.id),
        Ruling("hold", "blood", "Too red."),
    )
    do(resources, appeals.submit_appeal, ann, made.id, "It is a tomato.")
    with resources.db.write() as db:
        sessions.sign_in(db, sessions.Credentials("ann", PASSWORD, "1.2.3.4"), NOW)
        tokens.create_token(db, "ann", tokens.NewToken("script"), NOW)
        members.update_profile(
            db,
            ann,
            members.ProfileChange(
                about="I like dogs.",
                photo=photo_files.save_photo(db, resources.objects, make_photo(4), now=NOW),
            ),
            now=NOW,
        )
    return resources, ann, ben, (mine, held, theirs)


def test_everything_of_ones_own_is_in_it(life):
    res, ann, _, (mine, held, theirs) = life
    found = taken(res, ann)
    assert found["profile.json"] | {"joined_at": None} == {
        "name": "ann",
        "display": "Ann",
        "about": "I like dogs.",
        "joined_at": None,
        "events": True,
        "banned_at": None,
        "ban_reason": None,
        "posts": 0,
        "followers": 1,
        "following": 1,
        "picture": f"pictures/{make_photo(4).digest}.jpg",
        "roles": ["member"],
        "language": None,
        "theme": None,
    }
    assert [
        (each["id"], each["title"], each["state"], each["reason"], each["likes"])
        for each in found["posts.json"]
    ] == [
        (mine.id, "柴犬 Rex", "held", "blood", 1),
        (held.id, "Held", "held", "other", 0),
    ]
    assert (found["posts.json"][0]["tags"], found["posts.json"][0]["posted_at"]) == (
        ["しば"],
        NOW.isoformat(),
    )
    assert {"text": "Nice <cat>", "post_of": "ben", "post_id": theirs.id}.items() <= found[
        "comments.json"
    ][0].items()
    assert found["likes.json"] == [{"post_id": theirs.id, "post_of": "ben", "at": NOW.isoformat()}]
    assert [
        found[f"{name}.json"][0]["name"] for name in ("following", "followers", "blocked_and_muted")
    ] == ["ben"] * 3
    assert {"by": "ben", "kind": "like"}.items() <= found["notifications.json"][0].items()
    assert [each["kind"] for each in found["notifications.json"]] == [
        "like",
        "comment",
        "follow",
        "held",
    ]
    assert {
        "subject": "post",
        "subject_id": theirs.id,
        "text": "It is an advertisement.",
    }.items() <= found["reports.json"][0].items()
    assert {"action": "hold", "reason": "blood", "note": "Too red."}.items() <= found[
        "decisions.json"
    ][0].items()
    assert {"text": "It is a tomato.", "state": "open"}.items() <= found["appeals.json"][0].items()
    assert (len(found["sessions.json"]), found["tokens.json"][0]["label"]) == (1, "script")


def test_pictures_are_in_it_as_they_were_taken_in(life):
    res, ann, *_ = life
    files = {
        name: content for name, content in taken(res, ann).items() if name.startswith("pictures/")
    }
    assert files == {
        f"pictures/{make_photo(seed).digest}.jpg": make_photo(seed).files["full"]
        for seed in (1, 2, 4)
    }
    assert make_picture(1) not in files.values()


def test_of_others_there_is_nothing_but_their_names(life):
    res, ann, ben, _ = life
    whole = json.dumps(
        {name: content for name, content in taken(res, ann).items() if name.endswith(".json")},
        ensure_ascii=False,
    )
    for secret in ("Secret title of Ben", "Words of Ben", "mod", '"Ben"', "argon2"):
        assert secret not in whole, secret
    with res.db.read() as db:
        assert members.require_member(db, ben).pseudonym not in whole


def test_what_was_recorded_is_in_it_wherever_it_is_kept(life):
    res, ann, *_ = life
    before = taken(res, ann)["recorded.json"]
    assert [each["kind"] for each in before].count("like") == 1
    maintenance.export_events_now(res, NOW)
    do(res, engagement.unlike_post, ann, life[3][2].id)
    after = taken(res, ann)["recorded.json"]
    assert sorted(each["kind"] for each in after) == sorted(
        [*(each["kind"] for each in before), "like"]
    )
    assert {"kind": "report", "reason": "spam", "at": NOW.isoformat()}.items() <= next(
        e for e in after if e["kind"] == "report"
    ).items()


def test_a_banned_member_takes_it_along_and_a_stranger_nothing(life):
    res, ann, *_ = life
    with res.db.write() as db:
        members.require_member(db, ann).banned_at = NOW
    assert taken(res, ann)["profile.json"]["banned_at"] == NOW.isoformat()
    with pytest.raises(NotFound):
        data_export.stream_own_archive(res.db, res.objects, make_staff(res, "boss"), now=NOW)


def test_a_picture_that_was_just_taken_away_does_not_break_it(life):
    res, ann, *_ = life
    res.objects.delete(photo_files.object_key(make_photo(2).digest, "full"))
    assert len([name for name in taken(res, ann) if name.startswith("pictures/")]) == 2


def test_a_long_life_takes_little_memory(embedded):
    ann = make_member(embedded, "ann")
    photo = make_post(embedded, ann)
    with embedded.db.write() as db:
        row = {
            name: getattr(photo, name)
            for name in ("member_id", "photo", "title", "category", "posted_at")
        }
        words = {"description": "犬" * 2_000, "tags": [], "state": "published"}
        db.execute(insert(Post), [{**row, **words, "key": f"k{n}"} for n in range(2_000)])
        said = {
            "member_id": photo.member_id,
            "post_id": photo.id,
            "text": "x" * 1_000,
            "state": "shown",
        }
        db.execute(
            insert(Comment),
            [{**said, "key": f"k{n}", "at": NOW + timedelta(seconds=n)} for n in range(2_000)],
        )
    tracemalloc.start()
    sizes = [
        len(piece)
        for piece in data_export.stream_own_archive(embedded.db, embedded.objects, ann, now=NOW)
    ]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) > 40_000
    assert most < 5_000_000  # its texts alone have 14 MB

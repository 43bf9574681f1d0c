"""The data export: all data of a member, only names of others, streamed with little memory."""

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


def read_archive(res, person, now=NOW):
    """The archive's files by name, JSON files parsed."""
    archive = zipfile.ZipFile(
        io.BytesIO(b"".join(data_export.stream_own_archive(res.db, res.objects, person, now=now)))
    )
    assert archive.testzip() is None
    return {
        name: json.loads(archive.read(name)) if name.endswith(".json") else archive.read(name)
        for name in archive.namelist()
    }


def write(res, function, *args, **options):
    with res.db.write() as db:
        return function(db, *args, now=NOW, **options)


@pytest.fixture
def populated(resources):
    """Ann with posts, comments, reports and an appeal, and Ben, who interacts with her."""
    ann, ben, mod = (
        make_member(resources, "ann"),
        make_member(resources, "ben"),
        make_staff(resources, "mod"),
    )
    own_post = make_post(
        resources,
        ann,
        title="柴犬 Rex",
        description="My dog",
        tags=("しば",),
        category="dog",
        breed="shiba",
        seed=1,
    )
    held_post = make_post(resources, ann, title="Held", state="held", seed=2)
    other_post = make_post(resources, ben, title="Secret title of Ben", seed=3)
    write(resources, engagement.like_post, ann, other_post.id)
    write(resources, engagement.like_post, ben, own_post.id)
    write(resources, engagement.add_comment, ann, other_post.id, "Nice <cat>", key="a")
    write(resources, engagement.add_comment, ben, own_post.id, "Words of Ben", key="b")
    write(resources, engagement.follow_member, ann, "ben")
    write(resources, engagement.follow_member, ben, "ann")
    write(resources, members.block_member, ann, "ben", "mute")
    write(
        resources,
        cases.report_subject,
        ann,
        SubjectRef("post", other_post.id),
        "spam",
        "It is an advertisement.",
    )
    decision = write(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("post", own_post.id),
        Ruling("hold", "blood", "Too red."),
    )
    write(resources, appeals.submit_appeal, ann, decision.id, "It is a tomato.")
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
    return resources, ann, ben, (own_post, held_post, other_post)


def test_the_archive_has_all_data_of_the_member(populated):
    res, ann, _, (own_post, held_post, other_post) = populated
    archive = read_archive(res, ann)
    assert archive["profile.json"] | {"joined_at": None} == {
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
        (entry["id"], entry["title"], entry["state"], entry["reason"], entry["likes"])
        for entry in archive["posts.json"]
    ] == [
        (own_post.id, "柴犬 Rex", "held", "blood", 1),
        (held_post.id, "Held", "held", "other", 0),
    ]
    assert (archive["posts.json"][0]["tags"], archive["posts.json"][0]["posted_at"]) == (
        ["しば"],
        NOW.isoformat(),
    )
    assert {"text": "Nice <cat>", "post_of": "ben", "post_id": other_post.id}.items() <= archive[
        "comments.json"
    ][0].items()
    assert archive["likes.json"] == [
        {"post_id": other_post.id, "post_of": "ben", "at": NOW.isoformat()}
    ]
    assert [
        archive[f"{name}.json"][0]["name"]
        for name in ("following", "followers", "blocked_and_muted")
    ] == ["ben"] * 3
    assert {"by": "ben", "kind": "like"}.items() <= archive["notifications.json"][0].items()
    assert [entry["kind"] for entry in archive["notifications.json"]] == [
        "like",
        "comment",
        "follow",
        "held",
    ]
    assert {
        "subject": "post",
        "subject_id": other_post.id,
        "text": "It is an advertisement.",
    }.items() <= archive["reports.json"][0].items()
    assert {"action": "hold", "reason": "blood", "note": "Too red."}.items() <= archive[
        "decisions.json"
    ][0].items()
    assert {"text": "It is a tomato.", "state": "open"}.items() <= archive["appeals.json"][
        0
    ].items()
    assert (len(archive["sessions.json"]), archive["tokens.json"][0]["label"]) == (1, "script")


def test_the_archive_has_the_stored_pictures(populated):
    res, ann, *_ = populated
    files = {
        name: content
        for name, content in read_archive(res, ann).items()
        if name.startswith("pictures/")
    }
    assert files == {
        f"pictures/{make_photo(seed).digest}.jpg": make_photo(seed).files["full"]
        for seed in (1, 2, 4)
    }
    assert make_picture(1) not in files.values()


def test_the_archive_has_only_the_names_of_others(populated):
    res, ann, ben, _ = populated
    texts = json.dumps(
        {
            name: content
            for name, content in read_archive(res, ann).items()
            if name.endswith(".json")
        },
        ensure_ascii=False,
    )
    for secret in ("Secret title of Ben", "Words of Ben", "mod", '"Ben"', "argon2"):
        assert secret not in texts, secret
    with res.db.read() as db:
        assert members.require_member(db, ben).pseudonym not in texts


def test_the_archive_has_events_of_the_database_and_the_warehouse(populated):
    res, ann, *_ = populated
    before = read_archive(res, ann)["recorded.json"]
    assert [event["kind"] for event in before].count("like") == 1
    maintenance.export_events_now(res, NOW)
    write(res, engagement.unlike_post, ann, populated[3][2].id)
    after = read_archive(res, ann)["recorded.json"]
    assert sorted(event["kind"] for event in after) == sorted(
        [*(event["kind"] for event in before), "like"]
    )
    assert {"kind": "report", "reason": "spam", "at": NOW.isoformat()}.items() <= next(
        event for event in after if event["kind"] == "report"
    ).items()


def test_a_banned_member_can_export_and_staff_cannot(populated):
    res, ann, *_ = populated
    with res.db.write() as db:
        members.require_member(db, ann).banned_at = NOW
    assert read_archive(res, ann)["profile.json"]["banned_at"] == NOW.isoformat()
    with pytest.raises(NotFound):
        data_export.stream_own_archive(res.db, res.objects, make_staff(res, "boss"), now=NOW)


def test_a_missing_picture_file_is_skipped(populated):
    res, ann, *_ = populated
    res.objects.delete(photo_files.object_key(make_photo(2).digest, "full"))
    assert len([name for name in read_archive(res, ann) if name.startswith("pictures/")]) == 2


def test_a_large_archive_needs_little_memory(embedded):
    ann = make_member(embedded, "ann")
    post = make_post(embedded, ann)
    with embedded.db.write() as db:
        post_values = {
            name: getattr(post, name)
            for name in ("member_id", "photo", "title", "category", "posted_at")
        }
        texts = {"description": "犬" * 2_000, "tags": [], "state": "published"}
        db.execute(insert(Post), [{**post_values, **texts, "key": f"k{n}"} for n in range(2_000)])
        comment_values = {
            "member_id": post.member_id,
            "post_id": post.id,
            "text": "x" * 1_000,
            "state": "shown",
        }
        db.execute(
            insert(Comment),
            [
                {**comment_values, "key": f"k{n}", "at": NOW + timedelta(seconds=n)}
                for n in range(2_000)
            ],
        )
    tracemalloc.start()
    sizes = [
        len(piece)
        for piece in data_export.stream_own_archive(embedded.db, embedded.objects, ann, now=NOW)
    ]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) > 40_000
    assert peak_bytes < 5_000_000  # the texts alone have 14 MB

"""After a post was sent: published or held once, whatever is killed; what is owed is found; what was deleted goes for good."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from tanuki.animals import (
    banned_words,
    members,
    notifications,
    post_queries,
    post_review,
    post_states,
    posts,
)
from tanuki.animals.commands.banned_words import banned_words as banned_words_command
from tanuki.animals.images import photo_files
from tanuki.animals.search.index import PostText
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import BannedWord, Member, Notification, Photo, Post
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.platform import audit_log
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.platform.resources import Resources
from tests.factories.command_line import CommandRunner
from tests.factories.members_and_posts import (
    make_draft,
    make_member,
    make_photo,
    make_post,
    make_staff,
)

NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)


@contextmanager
def working(res: Resources, periodic_tasks=()):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests", periodic_tasks=periodic_tasks):
        yield


def send(res, who, key="k", seed=1, **words):
    with res.db.write() as db:
        return posts.create_post(
            db,
            res,
            who,
            posts.NewPost(make_draft(**words), make_photo(seed), key, limit=None),
            now=datetime.now(UTC),
        )


def check(res, made, now=NOW):
    with res.db.write() as db:
        return post_review.run_checks(db, made.id, now=now)


def state(res, made):
    with res.db.read() as db:
        found = db.get(Post, made.id)
        return found.state, found.reason


def until(done, seconds=30):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.05)
    assert done()


def found(res, words):
    with res.db.read() as db:
        return [hit.post_id for hit in search_posts(db, words).posts]


# ---- the run of a post ---------------------------------------------------------------------------------------------


def test_a_sent_post_is_published_and_found_and_an_edit_is_checked_by_a_run_of_its_own(resources):
    rex, mod = make_member(resources, "rex"), make_staff(resources, "mod")
    with resources.db.write() as db:
        banned_words.ban_word(db, mod, "badword", now=NOW)
    with working(resources):
        made = send(resources, rex, title="柴犬")
        until(lambda: resources.jobs.load_run(f"post-{made.id}").status == "done")
        assert (state(resources, made), found(resources, "柴犬")) == (
            ("published", None),
            [made.id],
        )
        with resources.db.write() as db:
            posts.edit_post(
                db,
                resources.jobs,
                rex,
                posts.PostVersion(made.id, 1),
                make_draft("柴犬 badword"),
                now=datetime.now(UTC),
            )
        until(lambda: state(resources, made) == ("held", "banned_word"))
        assert found(resources, "柴犬") == []
        with resources.db.write() as db:
            posts.edit_post(
                db,
                resources.jobs,
                rex,
                posts.PostVersion(made.id, 2),
                make_draft("柴犬 again"),
                now=datetime.now(UTC),
            )
        until(lambda: state(resources, made) == ("published", None))
        assert found(resources, "柴犬") == [made.id]
        done = {f"post-{made.id}{edit}": "done" for edit in ("", "-v2", "-v3")}
        until(lambda: {run.id: run.status for run in resources.jobs.list_runs()} == done)


def test_checking_twice_is_checking_once(resources):
    rex = make_member(resources, "rex")
    made = send(resources, rex)
    assert [check(resources, made), check(resources, made, NOW + timedelta(hours=1))] == [
        "published",
        "published",
    ]
    with resources.db.read() as db:
        assert (db.get(Post, made.id).published_at, db.scalar(select(Member.posts))) == (NOW, 1)
    with resources.db.write() as db:
        post_states.erase_posts(db, [made.id])
        assert post_review.run_checks(db, made.id, now=NOW) == "gone"


def test_a_post_with_a_picture_that_was_removed_is_held_and_its_owner_told(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    removed = make_post(resources, rex, state="removed", seed=1)
    made = send(resources, ann, seed=1)
    assert check(resources, made) == "held"
    assert check(resources, made) == "held"
    assert state(resources, made) == ("held", "blocked_image")
    with resources.db.read() as db:
        (told,) = notifications.list_notifications(db, ann).items
        assert (told.notification.kind, told.notification.values, told.post.id) == (
            "held",
            {"why": "blocked_image"},
            made.id,
        )
        assert notifications.list_notifications(db, rex).items == []
    with resources.db.write() as db:
        post_states.publish_post(db, removed, now=NOW)
    assert check(resources, send(resources, ann, key="again", seed=1)) == "published"


def test_a_post_of_somebody_who_was_banned_meanwhile_is_held(embedded):
    rex = make_member(embedded, "rex")
    made = send(embedded, rex)
    with embedded.db.write() as db:
        db.execute(update(Member).values(banned_at=NOW))
    check(embedded, made)
    assert state(embedded, made) == ("held", "banned_member")


@pytest.mark.parametrize(("before", "why"), [("held", "cruelty"), ("removed", "cruelty")])
def test_what_moderators_decided_before_the_check_stays(embedded, before, why):
    rex = make_member(embedded, "rex")
    made = make_post(embedded, rex, state=before, why=why)
    assert check(embedded, made) == before
    assert state(embedded, made) == (before, why)


def test_a_post_deleted_before_its_check_is_decided_about_and_comes_back_as_decided(embedded):
    rex = make_member(embedded, "rex")
    made = send(embedded, rex)
    with embedded.db.write() as db:
        posts.delete_post(db, rex, made.id, now=NOW)
    assert (check(embedded, made), found(embedded, "cat")) == ("deleted", [])
    with embedded.db.write() as db:
        posts.undo_delete(db, rex, made.id, now=NOW)
    assert (state(embedded, made), found(embedded, "cat")) == (("published", None), [made.id])


def test_posts_published_one_after_the_other_stand_in_that_order(embedded):
    rex = make_member(embedded, "rex")
    made = [send(embedded, rex, key=f"{n}") for n in range(3)]
    for n in (1, 0, 2):
        check(embedded, made[n], NOW + timedelta(microseconds=n == 2))
    with embedded.db.read() as db:
        assert [item.id for item in post_queries.list_newest_posts(db, None).items] == [
            made[2].id,
            made[1].id,
            made[0].id,
        ]


# ---- words that hold a post ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said", "held"),
    [
        ("ass", "What an ass!", True),
        ("ass", "Grass and a glass", False),
        ("ass", "Ａｓｓ", True),
        ("バカ", "このバカ犬", True),
        ("バカ", "このﾊﾞｶ犬", True),
        ("buy now", "BUY  NOW cheap", True),
        ("c++", "c++ dog", True),
        ("死ね", "かわいい", False),
    ],
)
def test_a_word_is_found_however_it_is_written_and_not_within_another_latin_one(word, said, held):
    assert (banned_words.find_banned_word([fold(word)], said) is not None) == held


@pytest.mark.parametrize(
    "said", [{"title": "A badword"}, {"description": "so\nBADWORD"}, {"tags": ("badword",)}]
)
def test_a_banned_word_anywhere_in_a_post_holds_it(embedded, said):
    rex, mod = make_member(embedded, "rex"), make_staff(embedded, "mod")
    with embedded.db.write() as db:
        banned_words.ban_word(db, mod, " BadWord ", now=NOW)
        banned_words.ban_word(db, mod, "badword", now=NOW)
        assert [
            (banned_word.word, banned_word.by)
            for banned_word in banned_words.list_banned_words(db, mod)
        ] == [("badword", "mod")]
    made = send(embedded, rex, **said)
    assert (check(embedded, made), state(embedded, made)) == ("held", ("held", "banned_word"))
    with embedded.db.write() as db:
        banned_words.allow_word(db, mod, "BADWORD", now=NOW)
        banned_words.allow_word(db, mod, "BADWORD", now=NOW)
        assert [(entry.action, entry.target) for entry in audit_log.load_entries(db)] == [
            ("allow word", "word:badword"),
            ("ban word", "word:badword"),
        ]
    assert check(embedded, send(embedded, rex, key="again", **said)) == "published"


def test_only_moderators_see_and_change_the_words(embedded):
    rex, mod = make_member(embedded, "rex"), make_staff(embedded, "mod")
    with embedded.db.write() as db:
        for act in (
            lambda: banned_words.ban_word(db, rex, "x", now=NOW),
            lambda: banned_words.allow_word(db, rex, "x", now=NOW),
            lambda: banned_words.list_banned_words(db, rex),
        ):
            with pytest.raises(NotAllowed):
                act()
        for word in ("", "x" * 41):
            with pytest.raises(UserError, match="1 to 40"):
                banned_words.ban_word(db, mod, word, now=NOW)
        assert db.scalar(select(func.count()).select_from(BannedWord)) == 0


def test_the_command_bans_and_allows_words_and_shows_them(tmp_path):
    call = partial(CommandRunner(env={"TANUKI_HOME": str(tmp_path)}).invoke, banned_words_command)
    assert call(["--ban", "Badword", "--ban", "バカ"]).exit_code == 0
    shown = call(["--allow", "badword", "--json"])
    assert [json.loads(line)["word"] for line in shown.stdout.splitlines()] == ["バカ"]
    with pytest.raises(UserError, match="1 to 40"):
        call(["--ban", "x" * 41], catch_exceptions=False)


# ---- what is owed --------------------------------------------------------------------------------------------------


def begin_owed(res, seconds=31):
    return post_review.start_lost_reviews(res, datetime.now(UTC) + timedelta(seconds=seconds))


def lose(res, run):
    """As if a run had never been."""
    res.jobs.client.delete_workflows([run])


def test_a_check_that_was_lost_is_begun_again_and_others_are_left_alone(resources):
    rex = make_member(resources, "rex")
    lost, waiting = send(resources, rex), send(resources, rex, key="other")
    lose(resources, f"post-{lost.id}")
    assert (begin_owed(resources, 0), begin_owed(resources), begin_owed(resources)) == (0, 1, 0)
    assert set(
        resources.jobs.load_run_statuses([f"post-{lost.id}", f"post-{waiting.id}"]).values()
    ) == {"queued"}
    with working(resources):
        until(lambda: state(resources, lost)[0] == state(resources, waiting)[0] == "published")
    assert begin_owed(resources) == 0


def test_a_lost_check_of_an_edit_is_begun_again(embedded):
    rex = make_member(embedded, "rex")
    with working(embedded):
        made = send(embedded, rex)
        until(lambda: embedded.jobs.load_run(f"post-{made.id}").status == "done")
    with embedded.db.write() as db:
        post_states.hold_post(db, made, "banned_word", now=NOW)
        posts.edit_post(
            db,
            embedded.jobs,
            rex,
            posts.PostVersion(made.id, 1),
            make_draft("better"),
            now=datetime.now(UTC),
        )
    lose(embedded, f"post-{made.id}-v2")
    assert (begin_owed(embedded), begin_owed(embedded)) == (1, 0)
    assert embedded.jobs.load_run(f"post-{made.id}-v2").status == "queued"


def test_a_failed_check_is_tried_again_until_it_succeeds(embedded):
    rex = make_member(embedded, "rex")
    made = send(embedded, rex)
    rename(embedded, "banned_word", "elsewhere")
    with working(embedded):
        until(lambda: embedded.jobs.load_run(f"post-{made.id}").status == "failed")
        assert (state(embedded, made)[0], begin_owed(embedded)) == ("checking", 0)
        rename(embedded, "elsewhere", "banned_word")
        assert begin_owed(embedded, 90) == 1
        until(lambda: state(embedded, made)[0] == "published")


def rename(res, table, to):
    with res.db.write() as db:
        db.execute(text(f"alter table {table} rename to {to}"))


def test_a_worker_looks_at_what_is_owed_by_itself(embedded):
    rex = make_member(embedded, "rex")
    owed, gone = send(embedded, rex), make_post(embedded, rex, state="deleted")
    lose(embedded, f"post-{owed.id}")
    with embedded.db.write() as db:
        db.execute(
            update(Post)
            .where(Post.id == owed.id)
            .values(posted_at=datetime.now(UTC) - timedelta(minutes=1))
        )
    with working(embedded, periodic_tasks=post_review.PERIODIC_TASKS):
        until(lambda: state(embedded, owed)[0] == "published")
        until(lambda: not exists(embedded, gone))


def exists(res, made):
    with res.db.read() as db:
        return db.get(Post, made.id) is not None


def test_posts_deleted_long_enough_ago_are_gone_with_their_pictures_unless_something_else_has_them(
    resources,
):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    alone, shared, recent = (
        make_post(resources, rex, state="published", seed=seed) for seed in (1, 2, 3)
    )
    other = make_post(resources, ann, seed=2)
    for made, minutes in ((alone, 11), (shared, 11), (recent, 9)):
        with resources.db.write() as db:
            posts.delete_post(db, rex, made.id, now=NOW - timedelta(minutes=minutes))
    purge = post_review.erase_deleted_posts
    assert (purge(resources, NOW), purge(resources, NOW)) == (2, 0)
    assert [exists(resources, made) for made in (alone, shared, recent, other)] == [
        False,
        False,
        True,
        True,
    ]
    assert [
        resources.objects.exists(photo_files.object_key(made.photo, "full"))
        for made in (alone, shared, recent)
    ] == [False, True, True]
    with resources.db.write() as db:
        assert db.get(Photo, alone.photo) is None
        with pytest.raises(NotFound):
            posts.undo_delete(db, rex, alone.id, now=NOW)
        posts.undo_delete(db, rex, recent.id, now=NOW)
    assert purge(resources, NOW + timedelta(days=1)) == 0


def test_pictures_that_nothing_uses_any_more_are_tidied_away(embedded):
    rex = make_member(embedded, "rex")
    used, unused = make_post(embedded, rex), make_post(embedded, rex)
    with embedded.db.write() as db:
        members.update_profile(
            db, rex, members.ProfileChange(photo=db.get(Photo, unused.photo)), now=NOW
        )
        post_states.erase_posts(db, [unused.id])
    tidy = post_review.delete_unused_photos
    assert tidy(embedded, NOW + timedelta(days=1)) == 0
    with embedded.db.write() as db:
        members.update_profile(db, rex, members.ProfileChange(photo=None), now=NOW)
    assert (tidy(embedded, NOW), tidy(embedded, NOW + timedelta(days=1))) == (0, 1)
    assert [
        embedded.objects.exists(photo_files.object_key(made.photo, "full"))
        for made in (used, unused)
    ] == [True, False]


# ---- killed --------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from sqlalchemy import event
from sqlalchemy.orm import Session
from tanuki.app import bootstrap
from tanuki.animals import post_review
from tanuki.animals import posts
from tanuki.animals.tables import Post
from tanuki.platform import resources
from tanuki.platform.jobs import run_worker
from tanuki.settings import Settings
home, url, when, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
res = bootstrap.create_resources(Settings.model_validate({"home": home, "database": url}), upgrade=False)
done = [0]

def kill(*_):
    done[0] += 1
    if done[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)

def changed(session):
    if session.info.get("changed"):
        kill()

@event.listens_for(Session, "after_flush")
def note(session, context):
    session.info["changed"] = session.info.get("changed") or any(isinstance(each, Post) for each in session.dirty)

if when == "in the middle":
    event.listen(res.db.engine, "after_cursor_execute", lambda c, cursor, statement, *_: kill() if "post" in statement and "SELECT" not in statement else None)
elif when in ("before_commit", "after_commit"):
    event.listen(Session, when, changed)
resources.set_process_resources(res)
with run_worker(res.db, "child"):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not res.jobs.list_runs(status="queued") and not res.jobs.list_runs(status="running"):
            os._exit(0)
        time.sleep(0.05)
os._exit(3)
"""


KILLS = [
    ("before_commit", 1),
    ("in the middle", 2),
    ("after_commit", 1),
    ("in the middle", 20),
    ("before_commit", 2),
]


@pytest.mark.slow
def test_killed_at_any_moment_every_post_is_published_or_held_once(resources):
    rex, mod = make_member(resources, "rex"), make_staff(resources, "mod")
    with resources.db.write() as db:
        banned_words.ban_word(db, mod, "badword", now=NOW)
    made = [
        send(resources, rex, key=f"{n}", title="柴犬 badword" if n % 2 else "柴犬")
        for n in range(40)
    ]
    ends = [run_child(resources, when, number) for when, number in (*KILLS, ("never", 0))]
    assert ends == [-9] * len(KILLS) + [0]
    good, bad = [each.id for each in made[::2]], [each.id for each in made[1::2]]
    assert [state(resources, each)[0] for each in made] == ["published", "held"] * 20
    with resources.db.read() as db:
        assert sorted(db.scalars(select(PostText.post_id))) == good
        assert db.scalar(select(Member.posts)) == len(good)
        assert sorted(db.scalars(select(Notification.post_id))) == bad
    assert {run.status for run in resources.jobs.list_runs(limit=1000)} == {"done"}


def run_child(res, when, number):
    command = [sys.executable, "-c", CHILD, str(res.settings.home), res.db.url, when, str(number)]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=120, check=False, capture_output=True
    )
    assert ended.returncode in (0, -9), ended.stderr.decode()[-2000:]
    return ended.returncode

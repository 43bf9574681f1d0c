"""Post review: one result despite kills, lost reviews restarted, deleted posts erased."""

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
def run_test_worker(res: Resources, periodic_tasks=()):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests", periodic_tasks=periodic_tasks):
        yield


def send_post(res, author, key="k", seed=1, **values):
    with res.db.write() as db:
        return posts.create_post(
            db,
            res,
            author,
            posts.NewPost(make_draft(**values), make_photo(seed), key, limit=None),
            now=datetime.now(UTC),
        )


def run_checks(res, post, now=NOW):
    with res.db.write() as db:
        return post_review.run_checks(db, post.id, now=now)


def load_state(res, post):
    with res.db.read() as db:
        row = db.get(Post, post.id)
        return row.state, row.reason


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def search_ids(res, query):
    with res.db.read() as db:
        return [hit.post_id for hit in search_posts(db, query).posts]


# ---- review of a post --------------------------------------------------------------------------


def test_a_new_post_and_each_edit_are_reviewed_by_their_own_run(resources):
    rex, mod = make_member(resources, "rex"), make_staff(resources, "mod")
    with resources.db.write() as db:
        banned_words.ban_word(db, mod, "badword", now=NOW)
    with run_test_worker(resources):
        post = send_post(resources, rex, title="柴犬")
        wait_until(lambda: resources.jobs.load_run(f"post-{post.id}").status == "done")
        assert (load_state(resources, post), search_ids(resources, "柴犬")) == (
            ("published", None),
            [post.id],
        )
        with resources.db.write() as db:
            posts.edit_post(
                db,
                resources.jobs,
                rex,
                posts.PostVersion(post.id, 1),
                make_draft("柴犬 badword"),
                now=datetime.now(UTC),
            )
        wait_until(lambda: load_state(resources, post) == ("held", "banned_word"))
        assert search_ids(resources, "柴犬") == []
        with resources.db.write() as db:
            posts.edit_post(
                db,
                resources.jobs,
                rex,
                posts.PostVersion(post.id, 2),
                make_draft("柴犬 again"),
                now=datetime.now(UTC),
            )
        wait_until(lambda: load_state(resources, post) == ("published", None))
        assert search_ids(resources, "柴犬") == [post.id]
        expected_statuses = {f"post-{post.id}{edit}": "done" for edit in ("", "-v2", "-v3")}
        wait_until(
            lambda: {run.id: run.status for run in resources.jobs.list_runs()} == expected_statuses
        )


def test_a_second_check_changes_nothing(resources):
    rex = make_member(resources, "rex")
    post = send_post(resources, rex)
    assert [run_checks(resources, post), run_checks(resources, post, NOW + timedelta(hours=1))] == [
        "published",
        "published",
    ]
    with resources.db.read() as db:
        assert (db.get(Post, post.id).published_at, db.scalar(select(Member.posts))) == (NOW, 1)
    with resources.db.write() as db:
        post_states.erase_posts(db, [post.id])
        assert post_review.run_checks(db, post.id, now=NOW) == "gone"


def test_a_post_with_a_blocked_photo_is_held_and_its_owner_notified(resources):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    removed = make_post(resources, rex, state="removed", seed=1)
    post = send_post(resources, ann, seed=1)
    assert run_checks(resources, post) == "held"
    assert run_checks(resources, post) == "held"
    assert load_state(resources, post) == ("held", "blocked_image")
    with resources.db.read() as db:
        (item,) = notifications.list_notifications(db, ann).items
        assert (item.notification.kind, item.notification.values, item.post.id) == (
            "held",
            {"why": "blocked_image"},
            post.id,
        )
        assert notifications.list_notifications(db, rex).items == []
    with resources.db.write() as db:
        post_states.publish_post(db, removed, now=NOW)
    assert run_checks(resources, send_post(resources, ann, key="again", seed=1)) == "published"


def test_a_post_of_a_banned_member_is_held(embedded):
    rex = make_member(embedded, "rex")
    post = send_post(embedded, rex)
    with embedded.db.write() as db:
        db.execute(update(Member).values(banned_at=NOW))
    run_checks(embedded, post)
    assert load_state(embedded, post) == ("held", "banned_member")


@pytest.mark.parametrize(("decided_state", "why"), [("held", "cruelty"), ("removed", "cruelty")])
def test_the_check_keeps_a_moderators_decision(embedded, decided_state, why):
    rex = make_member(embedded, "rex")
    post = make_post(embedded, rex, state=decided_state, why=why)
    assert run_checks(embedded, post) == decided_state
    assert load_state(embedded, post) == (decided_state, why)


def test_a_deleted_post_is_checked_and_undo_applies_the_result(embedded):
    rex = make_member(embedded, "rex")
    post = send_post(embedded, rex)
    with embedded.db.write() as db:
        posts.delete_post(db, rex, post.id, now=NOW)
    assert (run_checks(embedded, post), search_ids(embedded, "cat")) == ("deleted", [])
    with embedded.db.write() as db:
        posts.undo_delete(db, rex, post.id, now=NOW)
    assert (load_state(embedded, post), search_ids(embedded, "cat")) == (
        ("published", None),
        [post.id],
    )


def test_posts_are_listed_in_order_of_publication(embedded):
    rex = make_member(embedded, "rex")
    all_posts = [send_post(embedded, rex, key=f"{n}") for n in range(3)]
    for n in (1, 0, 2):
        run_checks(embedded, all_posts[n], NOW + timedelta(microseconds=n == 2))
    with embedded.db.read() as db:
        assert [item.id for item in post_queries.list_newest_posts(db, None).items] == [
            all_posts[2].id,
            all_posts[1].id,
            all_posts[0].id,
        ]


# ---- banned words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "text", "is_match"),
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
def test_banned_words_match_any_spelling_and_whole_latin_words_only(word, text, is_match):
    assert (banned_words.find_banned_word([fold(word)], text) is not None) == is_match


@pytest.mark.parametrize(
    "values", [{"title": "A badword"}, {"description": "so\nBADWORD"}, {"tags": ("badword",)}]
)
def test_a_banned_word_in_any_field_holds_the_post(embedded, values):
    rex, mod = make_member(embedded, "rex"), make_staff(embedded, "mod")
    with embedded.db.write() as db:
        banned_words.ban_word(db, mod, " BadWord ", now=NOW)
        banned_words.ban_word(db, mod, "badword", now=NOW)
        assert [
            (banned_word.word, banned_word.by)
            for banned_word in banned_words.list_banned_words(db, mod)
        ] == [("badword", "mod")]
    post = send_post(embedded, rex, **values)
    assert (run_checks(embedded, post), load_state(embedded, post)) == (
        "held",
        ("held", "banned_word"),
    )
    with embedded.db.write() as db:
        banned_words.allow_word(db, mod, "BADWORD", now=NOW)
        banned_words.allow_word(db, mod, "BADWORD", now=NOW)
        assert [(entry.action, entry.target) for entry in audit_log.load_entries(db)] == [
            ("allow word", "word:badword"),
            ("ban word", "word:badword"),
        ]
    assert run_checks(embedded, send_post(embedded, rex, key="again", **values)) == "published"


def test_only_moderators_see_and_change_banned_words(embedded):
    rex, mod = make_member(embedded, "rex"), make_staff(embedded, "mod")
    with embedded.db.write() as db:
        for action in (
            lambda: banned_words.ban_word(db, rex, "x", now=NOW),
            lambda: banned_words.allow_word(db, rex, "x", now=NOW),
            lambda: banned_words.list_banned_words(db, rex),
        ):
            with pytest.raises(NotAllowed):
                action()
        for word in ("", "x" * 41):
            with pytest.raises(UserError, match="1 to 40"):
                banned_words.ban_word(db, mod, word, now=NOW)
        assert db.scalar(select(func.count()).select_from(BannedWord)) == 0


def test_the_command_bans_allows_and_lists_words(tmp_path):
    run_command = partial(
        CommandRunner(env={"TANUKI_HOME": str(tmp_path)}).invoke, banned_words_command
    )
    assert run_command(["--ban", "Badword", "--ban", "バカ"]).exit_code == 0
    result = run_command(["--allow", "badword", "--json"])
    assert [json.loads(line)["word"] for line in result.stdout.splitlines()] == ["バカ"]
    with pytest.raises(UserError, match="1 to 40"):
        run_command(["--ban", "x" * 41], catch_exceptions=False)


# ---- lost reviews and deleted posts ------------------------------------------------------------


def start_lost_reviews(res, seconds=31):
    return post_review.start_lost_reviews(res, datetime.now(UTC) + timedelta(seconds=seconds))


def delete_run(res, run_id):
    """Delete a run, as if it had never been queued."""
    res.jobs.client.delete_workflows([run_id])


def test_only_a_lost_review_is_started_again(resources):
    rex = make_member(resources, "rex")
    lost_post, queued_post = send_post(resources, rex), send_post(resources, rex, key="other")
    delete_run(resources, f"post-{lost_post.id}")
    assert (
        start_lost_reviews(resources, 0),
        start_lost_reviews(resources),
        start_lost_reviews(resources),
    ) == (0, 1, 0)
    assert set(
        resources.jobs.load_run_statuses(
            [f"post-{lost_post.id}", f"post-{queued_post.id}"]
        ).values()
    ) == {"queued"}
    with run_test_worker(resources):
        wait_until(
            lambda: (
                load_state(resources, lost_post)[0]
                == load_state(resources, queued_post)[0]
                == "published"
            )
        )
    assert start_lost_reviews(resources) == 0


def test_a_lost_review_of_an_edit_is_started_again(embedded):
    rex = make_member(embedded, "rex")
    with run_test_worker(embedded):
        post = send_post(embedded, rex)
        wait_until(lambda: embedded.jobs.load_run(f"post-{post.id}").status == "done")
    with embedded.db.write() as db:
        post_states.hold_post(db, post, "banned_word", now=NOW)
        posts.edit_post(
            db,
            embedded.jobs,
            rex,
            posts.PostVersion(post.id, 1),
            make_draft("better"),
            now=datetime.now(UTC),
        )
    delete_run(embedded, f"post-{post.id}-v2")
    assert (start_lost_reviews(embedded), start_lost_reviews(embedded)) == (1, 0)
    assert embedded.jobs.load_run(f"post-{post.id}-v2").status == "queued"


def test_a_failed_review_is_retried_until_it_succeeds(embedded):
    rex = make_member(embedded, "rex")
    post = send_post(embedded, rex)
    rename_table(embedded, "banned_word", "elsewhere")
    with run_test_worker(embedded):
        wait_until(lambda: embedded.jobs.load_run(f"post-{post.id}").status == "failed")
        assert (load_state(embedded, post)[0], start_lost_reviews(embedded)) == ("checking", 0)
        rename_table(embedded, "elsewhere", "banned_word")
        assert start_lost_reviews(embedded, 90) == 1
        wait_until(lambda: load_state(embedded, post)[0] == "published")


def rename_table(res, table, new_name):
    with res.db.write() as db:
        db.execute(text(f"alter table {table} rename to {new_name}"))


def test_the_worker_starts_lost_reviews_and_erases_deleted_posts(embedded):
    rex = make_member(embedded, "rex")
    lost_post, deleted_post = send_post(embedded, rex), make_post(embedded, rex, state="deleted")
    delete_run(embedded, f"post-{lost_post.id}")
    with embedded.db.write() as db:
        db.execute(
            update(Post)
            .where(Post.id == lost_post.id)
            .values(posted_at=datetime.now(UTC) - timedelta(minutes=1))
        )
    with run_test_worker(embedded, periodic_tasks=post_review.PERIODIC_TASKS):
        wait_until(lambda: load_state(embedded, lost_post)[0] == "published")
        wait_until(lambda: not post_exists(embedded, deleted_post))


def post_exists(res, post):
    with res.db.read() as db:
        return db.get(Post, post.id) is not None


def test_expired_deleted_posts_are_erased_with_their_unshared_photos(
    resources,
):
    rex, ann = make_member(resources, "rex"), make_member(resources, "ann")
    unshared_post, shared_post, recent_post = (
        make_post(resources, rex, state="published", seed=seed) for seed in (1, 2, 3)
    )
    other_post = make_post(resources, ann, seed=2)
    for post, minutes in ((unshared_post, 11), (shared_post, 11), (recent_post, 9)):
        with resources.db.write() as db:
            posts.delete_post(db, rex, post.id, now=NOW - timedelta(minutes=minutes))
    erase = post_review.erase_deleted_posts
    assert (erase(resources, NOW), erase(resources, NOW)) == (2, 0)
    assert [
        post_exists(resources, post)
        for post in (unshared_post, shared_post, recent_post, other_post)
    ] == [
        False,
        False,
        True,
        True,
    ]
    assert [
        resources.objects.exists(photo_files.object_key(post.photo, "full"))
        for post in (unshared_post, shared_post, recent_post)
    ] == [False, True, True]
    with resources.db.write() as db:
        assert db.get(Photo, unshared_post.photo) is None
        with pytest.raises(NotFound):
            posts.undo_delete(db, rex, unshared_post.id, now=NOW)
        posts.undo_delete(db, rex, recent_post.id, now=NOW)
    assert erase(resources, NOW + timedelta(days=1)) == 0


def test_unused_photos_are_deleted_after_a_day(embedded):
    rex = make_member(embedded, "rex")
    used_post, profile_post = make_post(embedded, rex), make_post(embedded, rex)
    with embedded.db.write() as db:
        members.update_profile(
            db, rex, members.ProfileChange(photo=db.get(Photo, profile_post.photo)), now=NOW
        )
        post_states.erase_posts(db, [profile_post.id])
    delete_unused = post_review.delete_unused_photos
    assert delete_unused(embedded, NOW + timedelta(days=1)) == 0
    with embedded.db.write() as db:
        members.update_profile(db, rex, members.ProfileChange(photo=None), now=NOW)
    assert (delete_unused(embedded, NOW), delete_unused(embedded, NOW + timedelta(days=1))) == (
        0,
        1,
    )
    assert [
        embedded.objects.exists(photo_files.object_key(post.photo, "full"))
        for post in (used_post, profile_post)
    ] == [True, False]


# ---- kills -------------------------------------------------------------------------------------

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
settings = Settings.model_validate({"home": home, "database": url})
res = bootstrap.create_resources(settings, upgrade=False)
calls = [0]

def kill(*_):
    calls[0] += 1
    if calls[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)

def kill_if_posts_changed(session):
    if session.info.get("changed"):
        kill()

@event.listens_for(Session, "after_flush")
def record_changed_posts(session, context):
    if any(isinstance(row, Post) for row in session.dirty):
        session.info["changed"] = True

def kill_on_post_write(connection, cursor, statement, *_):
    if "post" in statement and "SELECT" not in statement:
        kill()

if when == "in the middle":
    event.listen(res.db.engine, "after_cursor_execute", kill_on_post_write)
elif when in ("before_commit", "after_commit"):
    event.listen(Session, when, kill_if_posts_changed)
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
def test_every_post_is_reviewed_once_after_kills_at_any_moment(resources):
    rex, mod = make_member(resources, "rex"), make_staff(resources, "mod")
    with resources.db.write() as db:
        banned_words.ban_word(db, mod, "badword", now=NOW)
    all_posts = [
        send_post(resources, rex, key=f"{n}", title="柴犬 badword" if n % 2 else "柴犬")
        for n in range(40)
    ]
    exit_codes = [run_child(resources, when, number) for when, number in (*KILLS, ("never", 0))]
    assert exit_codes == [-9] * len(KILLS) + [0]
    published_ids, held_ids = (
        [post.id for post in all_posts[::2]],
        [post.id for post in all_posts[1::2]],
    )
    assert [load_state(resources, post)[0] for post in all_posts] == ["published", "held"] * 20
    with resources.db.read() as db:
        assert sorted(db.scalars(select(PostText.post_id))) == published_ids
        assert db.scalar(select(Member.posts)) == len(published_ids)
        assert sorted(db.scalars(select(Notification.post_id))) == held_ids
    assert {run.status for run in resources.jobs.list_runs(limit=1000)} == {"done"}


def run_child(res, when, number):
    command = [sys.executable, "-c", CHILD, str(res.settings.home), res.db.url, when, str(number)]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=120, check=False, capture_output=True
    )
    assert result.returncode in (0, -9), result.stderr.decode()[-2000:]
    return result.returncode

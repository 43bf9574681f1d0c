"""Posting through the real form: what is wrong is said, what was typed is kept, sent twice is posted once; edit, delete, undo."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from tanuki.animals import post_states
from tanuki.animals.tables import Post
from tests.factories.http_clients import csrf, signed_in
from tests.factories.members_and_posts import member, picture, post

WORDS = {
    "title": "ひなたのムギ",
    "description": "朝から\n寝ている",
    "tags": "昼寝、#sun kitten",
    "category": "cat",
    "breed": "calico",
}


@pytest.fixture
def hana(app, embedded):
    member(embedded, "hana")
    return signed_in(app, "hana")


def form_key(browser):
    return re.search(r'name="key" value="([^"]+)"', browser.get("/animals/post").text)[1]


def send(browser, photo=None, **words):
    files = (
        {"photo": ("cat.jpg", picture(1) if photo is None else photo, "image/jpeg")}
        if photo != b""
        else {}
    )
    sent = {**WORDS, "csrf": csrf(browser, "/animals/post"), "key": "k", **words}
    return browser.post("/animals/post", data=sent, files=files or None)


def count(resources):
    with resources.db.read() as db:
        return db.scalar(select(func.count()).select_from(Post))


def test_a_post_is_kept_as_it_was_written_and_seen_by_its_owner_at_once(hana, embedded, app):
    answer = send(hana)
    assert answer.status_code == 303
    page = hana.get(answer.headers["location"]).text
    assert "Your photo is being checked" in page
    for text in ("ひなたのムギ", "朝から\n寝ている", "#昼寝", "#sun", "#kitten", "Calico"):
        assert text in page
    member(embedded, "ken")
    assert signed_in(app, "ken").get(answer.headers["location"]).status_code == 404


def test_a_photo_of_the_camera_is_taken_too(hana):
    sent = {**WORDS, "csrf": csrf(hana, "/animals/post"), "key": "k"}
    files = {
        "photo": ("", b"", "application/octet-stream"),
        "camera": ("camera.jpg", picture(2), "image/jpeg"),
    }
    assert hana.post("/animals/post", data=sent, files=files).status_code == 303


def test_the_same_form_sent_twice_is_one_post_and_each_form_has_its_own_key(hana, embedded):
    assert form_key(hana) != form_key(hana)
    first, second = send(hana), send(hana)
    assert first.headers["location"] == second.headers["location"]
    assert count(embedded) == 1


@pytest.mark.parametrize(
    ("photo", "words", "sentence"),
    [
        (b"", {}, "Please take or choose a photo."),
        (b"not a picture", {}, "The file is not a picture that we know"),
        (None, {"category": ""}, "Please choose a category."),
        (None, {"title": ""}, "A title has 1 to 80 characters; found 0."),
        (None, {"title": "x" * 81}, "A title has 1 to 80 characters; found 81."),
        (None, {"breed": "shiba"}, "There is no breed shiba in the category cat."),
        (
            None,
            {"tags": " ".join(f"t{n}" for n in range(11))},
            "A post has at most 10 tags; found 11.",
        ),
    ],
)
def test_what_is_wrong_is_said_on_the_form_and_what_was_typed_is_still_there(
    hana, embedded, photo, words, sentence
):
    answer = send(hana, photo, **words)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert 'name="key" value="k"' in answer.text
    assert "朝から" in answer.text
    assert count(embedded) == 0


def test_a_form_that_is_too_large_is_not_read(hana):
    answer = send(hana, b"x" * 27_000_000)
    assert answer.status_code == 413


def test_the_owner_edits_and_another_version_is_refused(hana, embedded, app):
    made = post(embedded, member(embedded, "hana"))
    page = hana.get(f"/animals/posts/{made.id}/edit").text
    assert 'value="A cat"' in page and 'name="version" value="1"' in page
    sent = {**WORDS, "version": 1, "csrf": csrf(hana, "/animals/post")}
    assert hana.post(f"/animals/posts/{made.id}/edit", data=sent).status_code == 303
    assert "ひなたのムギ" in hana.get(f"/animals/posts/{made.id}").text
    assert (
        hana.post(f"/animals/posts/{made.id}/edit", data=sent | {"title": "Later"}).status_code
        == 409
    )
    wrong = hana.post(f"/animals/posts/{made.id}/edit", data=sent | {"title": "", "version": 2})
    assert wrong.status_code == 400 and "A title has 1 to 80" in wrong.text
    member(embedded, "ken")
    ken = signed_in(app, "ken")
    assert ken.get(f"/animals/posts/{made.id}/edit").status_code == 404
    assert (
        ken.post(
            f"/animals/posts/{made.id}/edit", data=sent | {"csrf": csrf(ken, "/animals/post")}
        ).status_code
        == 404
    )


def test_a_deleted_post_can_be_brought_back_from_the_page_that_follows(hana, embedded, app):
    made = post(embedded, member(embedded, "hana"), now=datetime.now(UTC))
    token = {"csrf": csrf(hana, "/animals/post")}
    gone = hana.post(f"/animals/posts/{made.id}/delete", data=token)
    page = hana.get(gone.headers["location"]).text
    assert "This post is deleted" in page and f"/animals/posts/{made.id}/undo" in page
    member(embedded, "ken")
    ken = signed_in(app, "ken")
    assert ken.get(f"/animals/posts/{made.id}").status_code == 404
    back = hana.post(f"/animals/posts/{made.id}/undo", data=token)
    assert "Your post is back." in hana.get(back.headers["location"]).text
    assert ken.get(f"/animals/posts/{made.id}").status_code == 200


def test_a_held_post_says_why_to_its_owner_only(hana, embedded, app):
    made = post(embedded, member(embedded, "hana"), state="held", why="banned_word")
    page = hana.get(f"/animals/posts/{made.id}").text
    assert "This post is held" in page and post_states.HOLD_RULE_MESSAGES["banned_word"] in page
    member(embedded, "ken")
    assert signed_in(app, "ken").get(f"/animals/posts/{made.id}").status_code == 404

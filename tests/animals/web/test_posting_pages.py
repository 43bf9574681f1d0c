"""The form for a post: errors, what was typed, double submission; edit, delete, undo."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from tanuki.animals import post_states
from tanuki.animals.tables import Post
from tests.factories.http_clients import csrf, signed_in
from tests.factories.members_and_posts import make_member, make_picture, make_post

FORM = {
    "title": "ひなたのムギ",
    "description": "朝から\n寝ている",
    "tags": "昼寝、#sun kitten",
    "category": "cat",
    "breed": "calico",
}


@pytest.fixture
def hana(app, embedded):
    make_member(embedded, "hana")
    return signed_in(app, "hana")


def read_form_key(browser):
    return re.search(r'name="key" value="([^"]+)"', browser.get("/animals/post").text)[1]


def submit_post(browser, photo=None, **values):
    files = (
        {"photo": ("cat.jpg", make_picture(1) if photo is None else photo, "image/jpeg")}
        if photo != b""
        else {}
    )
    fields = {**FORM, "csrf": csrf(browser, "/animals/post"), "key": "k", **values}
    return browser.post("/animals/post", data=fields, files=files or None)


def count_posts(resources):
    with resources.db.read() as db:
        return db.scalar(select(func.count()).select_from(Post))


def test_a_new_post_is_unchanged_and_visible_only_to_its_owner(hana, embedded, app):
    answer = submit_post(hana)
    assert answer.status_code == 303
    page = hana.get(answer.headers["location"]).text
    assert "Your photo is being checked" in page
    for text in ("ひなたのムギ", "朝から\n寝ている", "#昼寝", "#sun", "#kitten", "Calico"):
        assert text in page
    make_member(embedded, "ken")
    assert signed_in(app, "ken").get(answer.headers["location"]).status_code == 404


def test_the_camera_field_is_accepted(hana):
    fields = {**FORM, "csrf": csrf(hana, "/animals/post"), "key": "k"}
    files = {
        "photo": ("", b"", "application/octet-stream"),
        "camera": ("camera.jpg", make_picture(2), "image/jpeg"),
    }
    assert hana.post("/animals/post", data=fields, files=files).status_code == 303


def test_a_form_sent_twice_creates_one_post(hana, embedded):
    assert read_form_key(hana) != read_form_key(hana)
    first_response, second_response = submit_post(hana), submit_post(hana)
    assert first_response.headers["location"] == second_response.headers["location"]
    assert count_posts(embedded) == 1


@pytest.mark.parametrize(
    ("photo", "values", "sentence"),
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
def test_a_refused_post_form_shows_the_error_and_keeps_what_was_typed(
    hana, embedded, photo, values, sentence
):
    response = submit_post(hana, photo, **values)
    assert response.status_code == 400
    assert sentence in response.text
    assert 'name="key" value="k"' in response.text
    assert "朝から" in response.text
    assert count_posts(embedded) == 0


def test_a_form_that_is_too_large_is_refused(hana):
    answer = submit_post(hana, b"x" * 27_000_000)
    assert answer.status_code == 413


def test_only_the_owner_edits_and_an_old_version_is_refused(hana, embedded, app):
    post = make_post(embedded, make_member(embedded, "hana"))
    page = hana.get(f"/animals/posts/{post.id}/edit").text
    assert 'value="A cat"' in page and 'name="version" value="1"' in page
    fields = {**FORM, "version": 1, "csrf": csrf(hana, "/animals/post")}
    assert hana.post(f"/animals/posts/{post.id}/edit", data=fields).status_code == 303
    assert "ひなたのムギ" in hana.get(f"/animals/posts/{post.id}").text
    assert (
        hana.post(f"/animals/posts/{post.id}/edit", data=fields | {"title": "Later"}).status_code
        == 409
    )
    refusal = hana.post(f"/animals/posts/{post.id}/edit", data=fields | {"title": "", "version": 2})
    assert refusal.status_code == 400 and "A title has 1 to 80" in refusal.text
    make_member(embedded, "ken")
    ken = signed_in(app, "ken")
    assert ken.get(f"/animals/posts/{post.id}/edit").status_code == 404
    assert (
        ken.post(
            f"/animals/posts/{post.id}/edit", data=fields | {"csrf": csrf(ken, "/animals/post")}
        ).status_code
        == 404
    )


def test_a_deletion_is_undone_on_the_page_that_follows(hana, embedded, app):
    post = make_post(embedded, make_member(embedded, "hana"), now=datetime.now(UTC))
    token = {"csrf": csrf(hana, "/animals/post")}
    deletion = hana.post(f"/animals/posts/{post.id}/delete", data=token)
    page = hana.get(deletion.headers["location"]).text
    assert "This post is deleted" in page and f"/animals/posts/{post.id}/undo" in page
    make_member(embedded, "ken")
    ken = signed_in(app, "ken")
    assert ken.get(f"/animals/posts/{post.id}").status_code == 404
    restoration = hana.post(f"/animals/posts/{post.id}/undo", data=token)
    assert "Your post is back." in hana.get(restoration.headers["location"]).text
    assert ken.get(f"/animals/posts/{post.id}").status_code == 200


def test_only_the_owner_sees_why_a_post_is_held(hana, embedded, app):
    post = make_post(embedded, make_member(embedded, "hana"), state="held", why="banned_word")
    page = hana.get(f"/animals/posts/{post.id}").text
    assert "This post is held" in page and post_states.HOLD_RULE_MESSAGES["banned_word"] in page
    make_member(embedded, "ken")
    assert signed_in(app, "ken").get(f"/animals/posts/{post.id}").status_code == 404

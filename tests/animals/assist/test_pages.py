"""The posting page with suggestions, with and without scripts; the enhancement page; the API."""

import html
import json
import re
import secrets

import cv2
import pytest
from sqlalchemy import select

from tanuki.animals import web as animals_web
from tanuki.animals.enhance import advice
from tanuki.animals.tables import Photo, Post
from tanuki.platform.event_log import Event
from tanuki.platform.web import app as web
from tests.factories.animal_pictures import (
    build_encoder_files,
    draw_scene,
    encode_jpeg,
    make_encoder_live,
    make_pet_post,
)
from tests.factories.http_clients import bearer, csrf, signed_in
from tests.factories.members_and_posts import make_member


@pytest.fixture(scope="module")
def app(shared, tmp_path_factory):
    """A site with a live image model, hana and ken."""
    make_encoder_live(shared, build_encoder_files(tmp_path_factory.mktemp("encoder")))
    for name in ("hana", "ken"):
        make_member(shared, name)
    return web.create_app(shared, [animals_web.SYSTEM])


def photo_file(seed):
    return {"photo": ("x.jpg", encode_jpeg(draw_scene(seed)), "image/jpeg")}


def read_hidden_field(page, name):
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', page)[1])


def load_created_post(shared, response):
    """The post that a response leads to."""
    assert response.status_code == 303, response.text
    with shared.db.read() as db:
        return db.get_one(Post, int(response.headers["location"].rsplit("/", 1)[1]))


def load_suggestion_events(shared, post):
    with shared.db.read() as db:
        return [
            event.values
            for event in db.scalars(select(Event).where(Event.kind == "suggest"))
            if event.values["post"] == post.id
        ]


# ---- without scripts ---------------------------------------------------------------------------


@pytest.fixture
def suggested_form(shared, app):
    """ken's browser and the form with suggestions for a photo that hana has posted before."""
    duplicate = make_pet_post(
        shared, make_member(shared, "hana"), draw_scene(21), title="Mugi asleep", tags=("sunny",)
    )
    ken = signed_in(app, "ken")
    form = {
        "csrf": csrf(ken, "/animals/post"),
        "key": secrets.token_hex(8),
        "step": "suggest",
        "description": "Kept words",
    }
    page = ken.post("/animals/post", data=form, files=photo_file(21))
    assert page.status_code == 200
    return ken, page.text, duplicate


def test_without_scripts_the_form_returns_with_suggestions_and_the_photo(shared, suggested_form):
    _, page, duplicate = suggested_form
    assert "Kept words" in page
    assert f'<a href="/animals/posts/{duplicate.id}">Mugi asleep</a>' in page
    assert "data:image/jpeg;base64," in page
    assert "sunny" not in page  # one other member's word


def submit_form(ken, page, **values):
    form = {
        name: read_hidden_field(page, name)
        for name in ("key", "stored_digest", "signature", "suggested")
    }
    return ken.post(
        "/animals/post",
        data={"csrf": csrf(ken, "/animals/post"), **form, **values},
        files=values.pop("files", None),
    )


def test_accepted_suggestions_fill_empty_fields_and_are_logged_without_text(shared, suggested_form):
    ken, page, _ = suggested_form
    offered = [
        {"what": "kind", "value": "dog|shiba", "lang": None, "source": "image_model"},
        {"what": "title", "value": "柴犬", "lang": "ja", "source": "image_model"},
        {"what": "tag", "value": "昼寝", "lang": "ja", "source": "posts"},
        {"what": "tag", "value": "nap", "lang": "en", "source": "posts"},
    ]
    suggested = json.dumps({"request": "abcdef0123456789", "offered": offered})
    post = load_created_post(
        shared,
        submit_form(
            ken,
            page,
            key=read_hidden_field(page, "key"),
            suggested=suggested,
            accepted=["0", "1", "2"],
            tags="mine",
        ),
    )
    assert (post.title, post.tags, post.category, post.breed) == (
        "柴犬",
        ["mine", "昼寝"],
        "dog",
        "shiba",
    )
    [event] = load_suggestion_events(shared, post)
    offered = event["offered"]
    assert [(item["what"], item["place"], item["taken"]) for item in offered] == [
        ("kind", 0, True), ("title", 1, True), ("tag", 2, True), ("tag", 3, False),
    ]  # fmt: skip
    assert "昼寝" not in json.dumps(event, ensure_ascii=False)


def test_no_suggestion_is_applied_unasked_and_a_refused_form_keeps_the_photo(
    shared, suggested_form
):
    ken, page, _ = suggested_form
    response = submit_form(ken, page)
    assert response.status_code == 400
    assert "choose a category" in html.unescape(response.text)
    assert read_hidden_field(response.text, "stored_digest") == read_hidden_field(
        page, "stored_digest"
    )
    assert read_hidden_field(response.text, "suggested") == read_hidden_field(page, "suggested")
    post = load_created_post(
        shared, submit_form(ken, response.text, title="My own", category="bird")
    )
    assert (post.title, post.tags, post.category) == ("My own", [], "bird")


def test_suggestions_do_not_apply_to_another_photo(shared, suggested_form):
    ken, page, _ = suggested_form
    suggested = json.dumps(
        {
            "request": "abcdef0123456789",
            "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "image_model"}],
        }
    )
    form = {name: read_hidden_field(page, name) for name in ("stored_digest", "signature")} | {
        "suggested": suggested,
        "accepted": "0",
        "key": "another-photo",
    }
    post = load_created_post(
        shared,
        ken.post(
            "/animals/post",
            data={"csrf": csrf(ken, "/animals/post"), **form, "title": "Other", "category": "cat"},
            files=photo_file(22),
        ),
    )
    assert post.tags == []
    assert load_suggestion_events(shared, post) == []
    assert post.photo != form["stored_digest"]


def test_a_stored_photo_belongs_to_its_sender_and_form(shared, app, suggested_form):
    ken, page, _ = suggested_form
    hana = signed_in(app, "hana")
    for browser, key in ((hana, read_hidden_field(page, "key")), (ken, "other-key")):
        response = submit_form(browser, page, key=key, title="Stolen", category="cat")
        assert response.status_code == 400
        assert "choose a photo" in response.text


def test_accepted_suggestions_are_not_logged_without_consent(shared, app):
    make_member(shared, "quiet")
    browser = signed_in(app, "quiet")
    browser.post(
        "/animals/settings", data={"csrf": csrf(browser, "/animals/settings"), "display": "Quiet"}
    )
    suggested = json.dumps(
        {
            "request": "abcdef0123456789",
            "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "image_model"}],
        }
    )
    form = {
        "csrf": csrf(browser, "/animals/post"),
        "key": "k-quiet",
        "title": "x",
        "category": "cat",
        "suggested": suggested,
        "accepted": "0",
        "tags": "nap",
    }
    post = load_created_post(shared, browser.post("/animals/post", data=form, files=photo_file(23)))
    assert post.tags == ["nap"]
    assert load_suggestion_events(shared, post) == []


# ---- with scripts and in the API ---------------------------------------------------------------


def test_the_script_gets_a_fragment_of_the_form_and_nothing_is_stored(shared, app):
    ken = signed_in(app, "ken")
    with shared.db.read() as db:
        count_before = len(db.scalars(select(Photo.digest)).all())
    response = ken.post(
        "/animals/post/suggestions", data={"csrf": csrf(ken, "/animals/post")}, files=photo_file(31)
    )
    assert response.status_code == 200
    assert response.text.count("data-suggestion-panel") == 1
    assert "<html" not in response.text
    with shared.db.read() as db:
        assert len(db.scalars(select(Photo.digest)).all()) == count_before


def test_the_api_gives_the_same_suggestions_and_refuses_invalid_photos(shared, app):
    post = make_pet_post(shared, make_member(shared, "hana"), draw_scene(32), title="Known")
    ken = bearer(shared, app, "ken")
    result = ken.post("/api/animals/photo-suggestions", files=photo_file(32)).json()
    assert [
        (duplicate["post"]["id"], duplicate["mine"]) for duplicate in result["near_duplicates"]
    ] == [(post.id, False)]
    assert result["hints"] == ["small"]
    refusal = ken.post(
        "/api/animals/photo-suggestions", files={"photo": ("x.txt", b"hello", "text/plain")}
    )
    assert refusal.status_code == 400
    assert refusal.headers["content-type"] == "application/problem+json"
    assert "ratelimit" in ken.post("/api/animals/photo-suggestions", files=photo_file(32)).headers


# ---- enhancements ------------------------------------------------------------------------------


def test_an_enhancement_is_created_compared_applied_and_reverted(shared, app, monkeypatch):
    monkeypatch.setattr(advice, "MIN_CRISPNESS", 0.2)
    post = make_pet_post(shared, make_member(shared, "hana"), draw_scene(41, 160, 120))
    hana, path = signed_in(app, "hana"), f"/animals/posts/{post.id}/enhancement"
    assert "twice its size" in hana.get(path).text
    assert hana.get(f"{path}.jpg").status_code == 303
    token = csrf(hana, path)
    assert hana.post(path, data={"csrf": token}).status_code == 303
    page = hana.get(path).text
    assert "data-compare" in page
    assert hana.get(f"{path}.jpg").headers["content-type"] == "image/jpeg"
    response = hana.post(
        f"{path}/apply", data={"csrf": token, "version": "1", "picture": "enhanced"}
    )
    assert response.status_code == 303
    client = bearer(shared, app, "hana")
    offer = client.get(f"/api{path}").json()
    assert (offer["shown"], offer["version"]) == (True, 2)
    assert client.get(f"/api/animals/posts/{post.id}").json()["picture"]["width"] == 320
    restoration = client.put(f"/api{path}", json={"enhanced": False, "version": 2})
    assert restoration.json()["picture"]["width"] == 160
    assert client.put(f"/api{path}", json={"enhanced": True, "version": 2}).status_code == 409


def test_the_page_explains_why_no_enhancement_is_offered(shared, app):
    post = make_pet_post(
        shared, make_member(shared, "hana"), cv2.GaussianBlur(draw_scene(42), (0, 0), 3)
    )
    hana = signed_in(app, "hana")
    page = hana.get(f"/animals/posts/{post.id}/enhancement").text
    assert "blurred" in page
    assert "Improve and compare" not in page
    assert (
        hana.post(
            f"/animals/posts/{post.id}/enhancement", data={"csrf": csrf(hana, "/animals/post")}
        ).status_code
        == 400
    )

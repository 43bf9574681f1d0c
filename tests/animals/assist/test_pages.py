"""The posting page with suggestions, with and without scripts; the page that offers a better picture; the same for programs."""

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
from tests.factories.animal_pictures import build_encoder_files, jpeg, make_encoder_live, pet, scene
from tests.factories.http_clients import bearer, csrf, signed_in
from tests.factories.members_and_posts import make_member


@pytest.fixture(scope="module")
def app(shared, tmp_path_factory):
    """A site with a live image model, hana and ken."""
    make_encoder_live(shared, build_encoder_files(tmp_path_factory.mktemp("encoder")))
    for name in ("hana", "ken"):
        make_member(shared, name)
    return web.create_app(shared, [animals_web.SYSTEM])


def photo(seed):
    return {"photo": ("x.jpg", jpeg(scene(seed)), "image/jpeg")}


def hidden(page, name):
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', page)[1])


def posted(shared, answer):
    """The post that an answer leads to."""
    assert answer.status_code == 303, answer.text
    with shared.db.read() as db:
        return db.get_one(Post, int(answer.headers["location"].rsplit("/", 1)[1]))


def told(shared, post):
    with shared.db.read() as db:
        return [
            event.values
            for event in db.scalars(select(Event).where(Event.kind == "suggest"))
            if event.values["post"] == post.id
        ]


# ---- without scripts -----------------------------------------------------------------------------------------------


@pytest.fixture
def looked(shared, app):
    """Ken's browser, and the form after its photo was looked at; hana has posted it before."""
    known = pet(shared, make_member(shared, "hana"), scene(21), title="Mugi asleep", tags=("sunny",))
    ken = signed_in(app, "ken")
    form = {
        "csrf": csrf(ken, "/animals/post"),
        "key": secrets.token_hex(8),
        "step": "suggest",
        "description": "Kept words",
    }
    page = ken.post("/animals/post", data=form, files=photo(21))
    assert page.status_code == 200
    return ken, page.text, known


def test_without_scripts_the_form_comes_back_with_suggestions_and_the_photo(shared, looked):
    _, page, known = looked
    assert "Kept words" in page
    assert f'<a href="/animals/posts/{known.id}">Mugi asleep</a>' in page
    assert "data:image/jpeg;base64," in page
    assert "sunny" not in page  # one other member's word


def sending(ken, page, **values):
    form = {name: hidden(page, name) for name in ("key", "stored_digest", "signature", "suggested")}
    return ken.post(
        "/animals/post",
        data={"csrf": csrf(ken, "/animals/post"), **form, **values},
        files=values.pop("files", None),
    )


def test_what_is_taken_fills_what_is_empty_and_is_logged_without_its_words(shared, looked):
    ken, page, _ = looked
    offered = [
        {"what": "kind", "value": "dog|shiba", "lang": None, "source": "image_model"},
        {"what": "title", "value": "柴犬", "lang": "ja", "source": "image_model"},
        {"what": "tag", "value": "昼寝", "lang": "ja", "source": "posts"},
        {"what": "tag", "value": "nap", "lang": "en", "source": "posts"},
    ]
    said = json.dumps({"request": "abcdef0123456789", "offered": offered})
    made = posted(
        shared,
        sending(
            ken, page, key=hidden(page, "key"), suggested=said, accepted=["0", "1", "2"], tags="mine"
        ),
    )
    assert (made.title, made.tags, made.category, made.breed) == (
        "柴犬",
        ["mine", "昼寝"],
        "dog",
        "shiba",
    )
    [event] = told(shared, made)
    assert [(each["what"], each["place"], each["taken"]) for each in event["offered"]] == [
        ("kind", 0, True), ("title", 1, True), ("tag", 2, True), ("tag", 3, False),
    ]  # fmt: skip
    assert "昼寝" not in json.dumps(event, ensure_ascii=False)


def test_nothing_is_taken_by_itself_and_the_photo_stays_when_something_is_wrong(shared, looked):
    ken, page, _ = looked
    answer = sending(ken, page)
    assert answer.status_code == 400
    assert "choose a category" in html.unescape(answer.text)
    assert hidden(answer.text, "stored_digest") == hidden(page, "stored_digest")
    assert hidden(answer.text, "suggested") == hidden(page, "suggested")
    made = posted(shared, sending(ken, answer.text, title="My own", category="bird"))
    assert (made.title, made.tags, made.category) == ("My own", [], "bird")


def test_suggestions_are_not_carried_over_to_another_photo(shared, looked):
    ken, page, _ = looked
    said = json.dumps(
        {
            "request": "abcdef0123456789",
            "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "image_model"}],
        }
    )
    form = {name: hidden(page, name) for name in ("stored_digest", "signature")} | {
        "suggested": said,
        "accepted": "0",
        "key": "another-photo",
    }
    made = posted(
        shared,
        ken.post(
            "/animals/post",
            data={"csrf": csrf(ken, "/animals/post"), **form, "title": "Other", "category": "cat"},
            files=photo(22),
        ),
    )
    assert made.tags == []
    assert told(shared, made) == []
    assert made.photo != form["stored_digest"]


def test_a_kept_photo_is_only_posted_by_who_sent_it_with_that_form(shared, app, looked):
    ken, page, _ = looked
    hana = signed_in(app, "hana")
    for who, key in ((hana, hidden(page, "key")), (ken, "other-key")):
        answer = sending(who, page, key=key, title="Stolen", category="cat")
        assert answer.status_code == 400
        assert "choose a photo" in answer.text


def test_what_was_taken_is_not_logged_for_who_said_no(shared, app):
    make_member(shared, "quiet")
    browser = signed_in(app, "quiet")
    browser.post(
        "/animals/settings", data={"csrf": csrf(browser, "/animals/settings"), "display": "Quiet"}
    )
    said = json.dumps(
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
        "suggested": said,
        "accepted": "0",
        "tags": "nap",
    }
    made = posted(shared, browser.post("/animals/post", data=form, files=photo(23)))
    assert made.tags == ["nap"]
    assert told(shared, made) == []


# ---- for scripts and programs --------------------------------------------------------------------------------------


def test_the_script_gets_a_piece_of_the_form_and_nothing_is_kept(shared, app):
    ken = signed_in(app, "ken")
    with shared.db.read() as db:
        before = len(db.scalars(select(Photo.digest)).all())
    answer = ken.post(
        "/animals/post/suggestions", data={"csrf": csrf(ken, "/animals/post")}, files=photo(31)
    )
    assert answer.status_code == 200
    assert answer.text.count("data-suggestion-panel") == 1
    assert "<html" not in answer.text
    with shared.db.read() as db:
        assert len(db.scalars(select(Photo.digest)).all()) == before


def test_a_program_is_told_the_same_and_what_is_no_picture_is_a_problem(shared, app):
    known = pet(shared, make_member(shared, "hana"), scene(32), title="Known")
    ken = bearer(shared, app, "ken")
    said = ken.post("/api/animals/photo-suggestions", files=photo(32)).json()
    assert [(each["post"]["id"], each["mine"]) for each in said["near_duplicates"]] == [
        (known.id, False)
    ]
    assert said["hints"] == ["small"]
    wrong = ken.post(
        "/api/animals/photo-suggestions", files={"photo": ("x.txt", b"hello", "text/plain")}
    )
    assert wrong.status_code == 400
    assert wrong.headers["content-type"] == "application/problem+json"
    assert "ratelimit" in ken.post("/api/animals/photo-suggestions", files=photo(32)).headers


# ---- better pictures -----------------------------------------------------------------------------------------------


def test_the_better_picture_is_made_compared_taken_and_given_back(shared, app, monkeypatch):
    monkeypatch.setattr(advice, "MIN_CRISPNESS", 0.2)
    made = pet(shared, make_member(shared, "hana"), scene(41, 160, 120))
    hana, path = signed_in(app, "hana"), f"/animals/posts/{made.id}/enhancement"
    assert "twice its size" in hana.get(path).text
    assert hana.get(f"{path}.jpg").status_code == 303
    secret = csrf(hana, path)
    assert hana.post(path, data={"csrf": secret}).status_code == 303
    page = hana.get(path).text
    assert "data-compare" in page
    assert hana.get(f"{path}.jpg").headers["content-type"] == "image/jpeg"
    taken = hana.post(f"{path}/apply", data={"csrf": secret, "version": "1", "picture": "enhanced"})
    assert taken.status_code == 303
    program = bearer(shared, app, "hana")
    said = program.get(f"/api{path}").json()
    assert (said["shown"], said["version"]) == (True, 2)
    assert program.get(f"/api/animals/posts/{made.id}").json()["picture"]["width"] == 320
    back = program.put(f"/api{path}", json={"enhanced": False, "version": 2})
    assert back.json()["picture"]["width"] == 160
    assert program.put(f"/api{path}", json={"enhanced": True, "version": 2}).status_code == 409


def test_the_page_says_why_nothing_is_offered(shared, app):
    made = pet(shared, make_member(shared, "hana"), cv2.GaussianBlur(scene(42), (0, 0), 3))
    hana = signed_in(app, "hana")
    page = hana.get(f"/animals/posts/{made.id}/enhancement").text
    assert "blurred" in page
    assert "Improve and compare" not in page
    assert (
        hana.post(
            f"/animals/posts/{made.id}/enhancement", data={"csrf": csrf(hana, "/animals/post")}
        ).status_code
        == 400
    )

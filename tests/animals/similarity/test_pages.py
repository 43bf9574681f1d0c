"""Similar pictures on pages and for programs, with the real image model: by post, by a picture that is sent along; nothing else is fetched, and it is logged what was shown."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from tanuki.animals import members, posts
from tanuki.animals import web as animals_web
from tanuki.platform import resources as resources_file
from tanuki.platform.event_log import Event
from tanuki.platform.web import app as web
from tests.factories import members_and_posts
from tests.factories.http_clients import bearer, csrf, signed_in, visitor
from tests.factories.members_and_posts import embed_all_photos, make_member, make_post

pytestmark = pytest.mark.mlflow
COUNT = 12


@pytest.fixture(scope="module")
def world(shared):
    """Hana's posts with the pictures 0 to 11, seen by the real image model; taro and rin are members, and hana blocks mika."""
    resources_file.set_process_resources(shared)
    hana = make_member(shared, "hana")
    made = [
        make_post(shared, hana, title=f"Photo {n}", seed=n, category="cat" if n % 2 else "dog")
        for n in range(COUNT)
    ]
    for name in ("taro", "mika"):
        make_member(shared, name)
    with shared.db.write() as db:
        members.block_member(db, hana, "mika", "block", now=datetime.now(UTC))
    embed_all_photos(shared, datetime.now(UTC))
    return shared, web.create_app(shared, [animals_web.SYSTEM]), made


@pytest.fixture(scope="module")
def taro(world):
    res, app, _ = world
    return bearer(res, app, "taro")


def search(program, content, **fields):
    return program.post(
        "/api/animals/search/image", data=fields, files={"photo": ("x.jpg", content, "image/jpeg")}
    )


# ---- for programs --------------------------------------------------------------------------------------------------


def test_a_post_has_similar_ones_the_most_similar_first(world, taro):
    _, _, made = world
    answer = taro.get(f"/api/animals/posts/{made[0].id}/similar?k=5").json()
    assert len(answer["items"]) == 5
    scores = [each["score"] for each in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert made[0].id not in [each["post"]["id"] for each in answer["items"]]
    narrowed = taro.get(f"/api/animals/posts/{made[0].id}/similar?category=cat&k=50").json()[
        "items"
    ]
    assert {each["post"]["category"] for each in narrowed} == {"cat"}
    assert len(narrowed) == COUNT // 2
    rest = taro.get(
        f"/api/animals/posts/{made[0].id}/similar",
        params={"k": 50, "exclude": [each["post"]["id"] for each in narrowed]},
    ).json()
    assert {each["post"]["category"] for each in rest["items"]} == {"dog"}


def test_a_picture_finds_the_post_that_has_it(world, taro):
    _, _, made = world
    answer = search(taro, members_and_posts.make_picture(3), k=3)
    assert answer.status_code == 200, answer.text
    first = answer.json()["items"][0]
    assert (first["post"]["id"], first["score"]) == (made[3].id, pytest.approx(1, abs=0.01))
    assert len(answer.json()["items"]) == 3
    assert "picture searches" in answer.headers["ratelimit-policy"]
    assert [
        each["post"]["category"]
        for each in search(taro, members_and_posts.make_picture(3), category="dog", k=2).json()["items"]
    ] == [
        "dog",
        "dog",
    ]


def test_somebody_who_is_blocked_finds_none_of_it_and_ones_own_can_be_left_out(world):
    res, app, _ = world
    assert search(bearer(res, app, "mika"), members_and_posts.make_picture(3)).json()["items"] == []
    hana = bearer(res, app, "hana")
    assert len(search(hana, members_and_posts.make_picture(3)).json()["items"]) == 10
    assert search(hana, members_and_posts.make_picture(3), exclude_own="true").json()["items"] == []


def test_an_address_is_refused_with_a_sentence_and_so_is_what_is_no_picture(world, taro):
    answer = taro.post("/api/animals/search/image", data={"url": "http://example.com/cat.jpg"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "Please send the photo itself; it is not fetched from an address.",
    )
    assert taro.post("/api/animals/search/image", data={"k": "3"}).status_code == 400
    assert search(taro, b"not a picture").status_code == 400
    assert search(taro, members_and_posts.make_picture(1)[:300]).status_code == 400
    assert search(taro, members_and_posts.make_picture(1), category="dragon").status_code == 404
    assert search(taro, members_and_posts.make_picture(1), k=1_000).status_code == 422


def test_what_is_sent_is_not_kept(world, taro):
    res, _, _ = world
    before = sorted(res.objects.list_keys("animals/pictures/"))
    search(taro, members_and_posts.make_picture(777))
    assert sorted(res.objects.list_keys("animals/pictures/")) == before


def test_a_deleted_post_is_gone_from_the_next_answer_and_comes_back(world, taro):
    res, _, made = world
    with res.db.read() as db:
        hana = members_and_posts.accounts.find_person(db, "hana")
    with res.db.write() as db:
        posts.delete_post(db, hana, made[3].id, now=datetime.now(UTC))
    assert made[3].id not in [
        each["post"]["id"] for each in search(taro, members_and_posts.make_picture(3)).json()["items"]
    ]
    with res.db.write() as db:
        posts.undo_delete(db, hana, made[3].id, now=datetime.now(UTC))
    assert search(taro, members_and_posts.make_picture(3)).json()["items"][0]["post"]["id"] == made[3].id


def test_what_was_shown_is_logged_as_in_other_lists(world, taro):
    res, _, made = world
    found = taro.get(f"/api/animals/posts/{made[5].id}/similar?k=4").json()
    res.events.close()
    with res.db.read() as db:
        logged = [
            event.values
            for event in db.scalars(select(Event))
            if event.values.get("request") == found["request_id"]
        ]
    assert {each["page"] for each in logged} == {"similar"}
    shown = next(each for each in logged if "posts" in each)
    assert [each["post"] for each in shown["posts"]] == [
        each["post"]["id"] for each in found["items"]
    ]


# ---- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "title"), [("en", "Similar photos"), ("ja", "似た写真")])
def test_a_photos_page_shows_similar_photos(world, lang, title):
    _, app, made = world
    page = visitor(app, headers={"Accept-Language": lang}).get(f"/animals/posts/{made[0].id}").text
    assert f"<h2>{title}</h2>" in page
    strip = page[page.index('class="similar-photos"') :]
    assert strip.count('data-position="') == 8
    assert f'data-post="{made[0].id}"' not in strip


def test_a_picture_is_searched_for_without_scripts(world):
    _, app, made = world
    browser = signed_in(app, "taro")
    begin = browser.get("/animals/search").text
    assert 'action="/animals/search/image"' in begin
    assert 'capture="environment"' in begin
    files = {
        "camera": ("", b"", "application/octet-stream"),
        "photo": ("x.jpg", members_and_posts.make_picture(3), "image/jpeg"),
    }
    answer = browser.post(
        "/animals/search/image", data={"csrf": csrf(browser), "category": ""}, files=files
    )
    assert answer.status_code == 200
    assert answer.text.index(f'data-post="{made[3].id}"') == answer.text.index('data-post="')
    wrong = browser.post("/animals/search/image", data={"csrf": csrf(browser), "category": ""})
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (400, True)


def test_visitors_are_asked_to_sign_in_before_they_search_by_a_picture(world):
    _, app, _ = world
    browser = visitor(app)
    assert "/sign-in?next=" in browser.get("/animals/search").text
    assert browser.post(
        "/animals/search/image", data={"csrf": csrf(browser, "/animals/credits")}
    ).status_code in (303, 401)

"""Similar photos on pages and in the API with the real image model: by post and by photo."""

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
def populated(shared):
    """hana's 12 posts with embeddings of the real image model; hana blocks mika."""
    resources_file.set_process_resources(shared)
    hana = make_member(shared, "hana")
    all_posts = [
        make_post(shared, hana, title=f"Photo {n}", seed=n, category="cat" if n % 2 else "dog")
        for n in range(COUNT)
    ]
    for name in ("taro", "mika"):
        make_member(shared, name)
    with shared.db.write() as db:
        members.block_member(db, hana, "mika", "block", now=datetime.now(UTC))
    embed_all_photos(shared, datetime.now(UTC))
    return shared, web.create_app(shared, [animals_web.SYSTEM]), all_posts


@pytest.fixture(scope="module")
def taro(populated):
    res, app, _ = populated
    return bearer(res, app, "taro")


def search_by_photo(client, content, **fields):
    return client.post(
        "/api/animals/search/image", data=fields, files={"photo": ("x.jpg", content, "image/jpeg")}
    )


# ---- API ---------------------------------------------------------------------------------------


def test_similar_posts_are_ordered_by_score(populated, taro):
    _, _, all_posts = populated
    response = taro.get(f"/api/animals/posts/{all_posts[0].id}/similar?k=5").json()
    assert len(response["items"]) == 5
    scores = [item["score"] for item in response["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all_posts[0].id not in [item["post"]["id"] for item in response["items"]]
    narrowed = taro.get(f"/api/animals/posts/{all_posts[0].id}/similar?category=cat&k=50").json()[
        "items"
    ]
    assert {item["post"]["category"] for item in narrowed} == {"cat"}
    assert len(narrowed) == COUNT // 2
    other_items = taro.get(
        f"/api/animals/posts/{all_posts[0].id}/similar",
        params={"k": 50, "exclude": [item["post"]["id"] for item in narrowed]},
    ).json()
    assert {item["post"]["category"] for item in other_items["items"]} == {"dog"}


def test_a_search_by_photo_finds_its_own_post_first(populated, taro):
    _, _, all_posts = populated
    response = search_by_photo(taro, members_and_posts.make_picture(3), k=3)
    assert response.status_code == 200, response.text
    first_item = response.json()["items"][0]
    assert (first_item["post"]["id"], first_item["score"]) == (
        all_posts[3].id,
        pytest.approx(1, abs=0.01),
    )
    assert len(response.json()["items"]) == 3
    assert "picture searches" in response.headers["ratelimit-policy"]
    dogs = search_by_photo(taro, members_and_posts.make_picture(3), category="dog", k=2).json()
    assert [item["post"]["category"] for item in dogs["items"]] == ["dog", "dog"]


def test_a_search_by_photo_hides_blocked_members_and_can_exclude_own_posts(populated):
    res, app, _ = populated
    assert (
        search_by_photo(bearer(res, app, "mika"), members_and_posts.make_picture(3)).json()["items"]
        == []
    )
    hana = bearer(res, app, "hana")
    assert len(search_by_photo(hana, members_and_posts.make_picture(3)).json()["items"]) == 10
    assert (
        search_by_photo(hana, members_and_posts.make_picture(3), exclude_own="true").json()["items"]
        == []
    )


def test_a_url_and_an_invalid_photo_are_refused(populated, taro):
    response = taro.post("/api/animals/search/image", data={"url": "http://example.com/cat.jpg"})
    assert (response.status_code, response.json()["detail"]) == (
        400,
        "Please send the photo itself; it is not fetched from an address.",
    )
    assert taro.post("/api/animals/search/image", data={"k": "3"}).status_code == 400
    assert search_by_photo(taro, b"not a picture").status_code == 400
    assert search_by_photo(taro, members_and_posts.make_picture(1)[:300]).status_code == 400
    assert (
        search_by_photo(taro, members_and_posts.make_picture(1), category="dragon").status_code
        == 404
    )
    assert search_by_photo(taro, members_and_posts.make_picture(1), k=1_000).status_code == 422


def test_a_searched_photo_is_not_stored(populated, taro):
    res, _, _ = populated
    before = sorted(res.objects.list_keys("animals/pictures/"))
    search_by_photo(taro, members_and_posts.make_picture(777))
    assert sorted(res.objects.list_keys("animals/pictures/")) == before


def test_a_deleted_post_is_hidden_at_once_and_undo_restores_it(populated, taro):
    res, _, all_posts = populated
    with res.db.read() as db:
        hana = members_and_posts.accounts.find_person(db, "hana")
    with res.db.write() as db:
        posts.delete_post(db, hana, all_posts[3].id, now=datetime.now(UTC))
    items = search_by_photo(taro, members_and_posts.make_picture(3)).json()["items"]
    assert all_posts[3].id not in [item["post"]["id"] for item in items]
    with res.db.write() as db:
        posts.undo_delete(db, hana, all_posts[3].id, now=datetime.now(UTC))
    items = search_by_photo(taro, members_and_posts.make_picture(3)).json()["items"]
    assert items[0]["post"]["id"] == all_posts[3].id


def test_similar_posts_are_logged_as_impressions(populated, taro):
    res, _, all_posts = populated
    listing = taro.get(f"/api/animals/posts/{all_posts[5].id}/similar?k=4").json()
    res.events.close()
    with res.db.read() as db:
        logged = [
            event.values
            for event in db.scalars(select(Event))
            if event.values.get("request") == listing["request_id"]
        ]
    assert {values["page"] for values in logged} == {"similar"}
    impression = next(values for values in logged if "posts" in values)
    assert [values["post"] for values in impression["posts"]] == [
        values["post"]["id"] for values in listing["items"]
    ]


# ---- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "title"), [("en", "Similar photos"), ("ja", "似た写真")])
def test_a_post_page_shows_similar_photos(populated, lang, title):
    _, app, all_posts = populated
    page = (
        visitor(app, headers={"Accept-Language": lang})
        .get(f"/animals/posts/{all_posts[0].id}")
        .text
    )
    assert f"<h2>{title}</h2>" in page
    strip = page[page.index('class="similar-photos"') :]
    assert strip.count('data-position="') == 8
    assert f'data-post="{all_posts[0].id}"' not in strip


def test_a_search_by_photo_works_without_scripts(populated):
    _, app, all_posts = populated
    browser = signed_in(app, "taro")
    search_page = browser.get("/animals/search").text
    assert 'action="/animals/search/image"' in search_page
    assert 'capture="environment"' in search_page
    files = {
        "camera": ("", b"", "application/octet-stream"),
        "photo": ("x.jpg", members_and_posts.make_picture(3), "image/jpeg"),
    }
    response = browser.post(
        "/animals/search/image", data={"csrf": csrf(browser), "category": ""}, files=files
    )
    assert response.status_code == 200
    assert response.text.index(f'data-post="{all_posts[3].id}"') == response.text.index(
        'data-post="'
    )
    refusal = browser.post("/animals/search/image", data={"csrf": csrf(browser), "category": ""})
    assert (refusal.status_code, 'role="alert"' in refusal.text) == (400, True)


def test_visitors_are_asked_to_sign_in_before_they_search_by_a_picture(populated):
    _, app, _ = populated
    browser = visitor(app)
    assert "/sign-in?next=" in browser.get("/animals/search").text
    assert browser.post(
        "/animals/search/image", data={"csrf": csrf(browser, "/animals/credits")}
    ).status_code in (303, 401)

"""The search page: highlighted matches, filters, days in Tokyo, autocomplete."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tanuki.animals import engagement, members
from tests.factories.http_clients import signed_in, visitor
from tests.factories.members_and_posts import NOW, make_member, make_post


@pytest.fixture
def search_page(app, embedded):
    """What a visitor's search gives: titles in order, and the page."""
    hana, ken = make_member(embedded, "hana"), make_member(embedded, "ken")
    cat = make_post(
        embedded,
        hana,
        title="子猫のムギ",
        description="縁側で寝ている <b>猫</b> です",
        tags=("昼寝",),
        breed="calico",
    )
    make_post(
        embedded,
        ken,
        title="柴犬の散歩",
        category="dog",
        breed="shiba",
        now=NOW + timedelta(hours=20),
    )
    with embedded.db.write() as db:
        engagement.like_post(db, ken, cat.id, now=NOW)
    browser = visitor(app)

    def search(query, lang="en"):
        answer = browser.get(f"/animals/search?{query}", headers={"Accept-Language": lang})
        page = answer.text
        titles = re.findall(r'<h2><a href="/animals/posts/\d+">(.*?)</a></h2>', page)
        return answer.status_code, [re.sub(r"</?mark>", "", title) for title in titles], page

    return search


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("q=猫", ["子猫のムギ"]),
        ("q=cat", ["子猫のムギ"]),
        ("q=shiba", ["柴犬の散歩"]),
        ("q=ｼﾊﾞ", ["柴犬の散歩"]),
        ("q=象", []),
    ],
)
def test_words_in_both_languages_find_posts(search_page, query, titles):
    assert search_page(query)[:2] == (200, titles)


def test_matches_are_highlighted_and_the_rest_is_escaped(search_page):
    page = search_page("q=猫")[2]
    assert "縁側で寝ている &lt;b&gt;<mark>猫</mark>&lt;/b&gt;" in page


def test_each_filter_can_be_removed(search_page):
    assert search_page("category=cat")[1] == ["子猫のムギ"]
    assert search_page("q=散歩&liked=1")[1] == []
    _, titles, page = search_page("q=猫&category=cat&breed=calico&tag=昼寝&liked=1&sort=newest")
    assert titles == ["子猫のムギ"]
    chips = re.findall(
        r'<a class="chip" href="(/animals/search[^"]*)" aria-label="Remove the filter ([^"]+)"',
        page,
    )
    assert [name for _, name in chips] == ["Cats", "Calico", "#昼寝", "only photos with likes"]
    assert (
        "category" not in chips[0][0]
        and "breed=calico" in chips[0][0]
        and "sort=newest" in chips[0][0]
    )


def test_days_are_days_in_tokyo_both_included(search_page):
    day = (NOW + timedelta(hours=9)).date()  # the cat's day in Tokyo; the dog came on the next one
    assert search_page(f"q=散歩&until={day}")[1] == [] and search_page(f"q=散歩&since={day}")[
        1
    ] == ["柴犬の散歩"]
    assert search_page(f"q=猫&since={day}&until={day}")[1] == ["子猫のムギ"]
    assert search_page("q=猫&until=9999-12-31&since=0001-01-01")[0] == 200


def test_invalid_searches_are_refused(search_page):
    assert search_page("q=cat&sort=beauty")[0] == 400
    assert search_page("category=unicorn")[0] == 400
    assert search_page(f"q={'x' * 201}")[0] == 400
    assert search_page("q=cat&after=nonsense")[0] == 400
    assert search_page("q=cat&since=soon")[0] == 422


def test_an_empty_search_offers_categories(search_page):
    assert 'href="/animals/categories/dog"' in search_page("")[2]
    assert "Nothing found" in search_page("q=zzzz")[2]


def test_blocked_members_are_not_found(app, embedded, search_page):
    make_member(embedded, "mika")
    with embedded.db.write() as db:
        members.block_member(db, make_member(embedded, "hana"), "mika", "block", now=NOW)
    assert "子猫のムギ" not in signed_in(app, "mika").get("/animals/search?q=猫").text


def test_pages_of_results_do_not_overlap(app, embedded):
    hana = make_member(embedded, "hana")
    for n in range(30):
        make_post(
            embedded,
            hana,
            title=f"Cat {n}",
            seed=n % 3,
            now=datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=n),
        )
    browser, seen_ids, path = visitor(app), [], "/animals/search?q=cat&category=cat"
    while path:
        page = browser.get(path).text
        seen_ids += re.findall(r'data-post="(\d+)"', page)
        next_link = re.search(r'rel="next" href="([^"]+)"', page)
        path = next_link and next_link[1].replace("&amp;", "&")
    assert len(seen_ids) == len(set(seen_ids)) == 30


def test_autocomplete_is_in_the_readers_language(app, search_page):
    browser = visitor(app)
    assert browser.get(
        "/animals/autocomplete?q=shib", headers={"Accept-Language": "en"}
    ).json() == [{"text": "Shiba Inu", "kind": "breed"}]
    assert {"text": "柴犬", "kind": "品種"} in browser.get(
        "/animals/autocomplete?q=しば", headers={"Accept-Language": "ja"}
    ).json()
    assert browser.get("/animals/autocomplete?q=").json() == []

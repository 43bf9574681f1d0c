"""Pages in a real browser: accessibility, size, layout shifts, scripts, offline use."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from sqlalchemy import select

from tanuki.animals import engagement
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.app import bootstrap
from tanuki.platform.event_log import Event
from tanuki.platform.resources import Resources
from tanuki.settings import Settings
from tests.factories.browser import Visit
from tests.factories.members_and_posts import make_member, make_picture, make_post, make_staff
from tests.factories.server_process import run_server

pytestmark = pytest.mark.browser

MAX_FIRST_VIEW_BYTES = 150_000  # of a first view, without pictures
LAYOUT_SHIFTS_SCRIPT = """new Promise(done => {
  const shifts = []
  const describeSource = source => [
    source.node?.outerHTML?.slice(0, 80) ?? source.node?.textContent,
    source.previousRect.toJSON(),
    source.currentRect.toJSON(),
  ]
  const describeShift = shift => [shift.value, shift.startTime, shift.sources.map(describeSource)]
  const observer = new PerformanceObserver(list => shifts.push(
    ...list.getEntries().filter(shift => !shift.hadRecentInput).map(describeShift)))
  observer.observe({type: 'layout-shift', buffered: true})
  setTimeout(() => done(shifts), 300)
})"""
"""Layout shifts without input: their size, moment, and what moved from where to where."""

WORKER_CONTROLS_SCRIPT = """navigator.serviceWorker.ready.then(
  () => navigator.serviceWorker.controller || new Promise(
    done => navigator.serviceWorker.addEventListener('controllerchange', done)))"""
CACHED_PAGES_SCRIPT = """caches.keys()
  .then(names => Promise.all(
    names.map(name => caches.open(name).then(cache => cache.keys()))))
  .then(all => all.flat().map(request => new URL(request.url).pathname).filter(
    path => !path.startsWith('/static/') && !path.startsWith('/animals/pictures/')))"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Resources]:
    """One home folder for all of these tests."""
    made = bootstrap.create_resources(Settings(home=tmp_path_factory.mktemp("animals") / "home"))
    yield made
    bootstrap.close_resources(made)


@pytest.fixture(scope="module")
def server(home) -> Iterator[str]:
    """One server for all of these tests."""
    with run_server(home) as address:
        yield address


@pytest.fixture(scope="module")
def content(home):
    """hana's posts in each state, a like, a comment, reports, an appeal. Gives their ids."""
    now = datetime.now(UTC)
    hana, ken = make_member(home, "hana"), make_member(home, "ken")
    make_staff(home, "mod", "moderator")
    second_moderator = make_staff(home, "mod-2", "moderator")
    published_posts = [
        make_post(home, hana, title=f"Mugi {n}", seed=n % 5, now=now - timedelta(minutes=n))
        for n in range(30)
    ]
    held_post, removed_post = (
        make_post(home, hana, state="held", why="banned_word"),
        make_post(home, hana, title="Cushion"),
    )
    with home.db.write() as db:
        engagement.like_post(db, ken, published_posts[0].id, now=now)
        engagement.follow_member(db, ken, "hana", now=now)
        engagement.add_comment(db, ken, published_posts[0].id, "かわいい！", key="c", now=now)
        case = cases.report_subject(
            db,
            ken,
            cases.SubjectRef("post", removed_post.id),
            "not_an_animal",
            "A cushion.",
            now=now,
        )
        decision = decisions.decide_case(
            db,
            second_moderator,
            case.id,
            decisions.Ruling("remove", "not_an_animal", "A cushion."),
            now=now,
        )
        appeal = appeals.submit_appeal(db, hana, decision.id, "Look again.", now=now)
        open_case = cases.report_subject(
            db, ken, cases.SubjectRef("post", published_posts[1].id), "spam", "", now=now
        )
    return {
        "shown": published_posts[0].id,
        "held": held_post.id,
        "removed": removed_post.id,
        "appeal": appeal.id,
        "case": open_case.id,
    }


PAGES = {
    "hana": [
        "/animals",
        "/animals/newest",
        "/animals/categories/cat",
        "/animals/search?q=mugi&category=cat",
        "/animals/search?q=zzz",
        "/animals/posts/{shown}",
        "/animals/posts/{held}",
        "/animals/posts/{removed}",
        "/animals/posts/{shown}/likes",
        "/animals/posts/{shown}/edit",
        "/animals/posts/{shown}/enhancement",
        "/animals/post",
        "/animals/members/hana",
        "/animals/members/ken",
        "/animals/members/hana/followers",
        "/animals/settings",
        "/animals/blocks",
        "/animals/data",
        "/animals/notifications",
        "/animals/decisions",
        "/animals/report?subject=member&id=2",
        "/animals/credits",
        "/account",
    ],
    "mod": [
        "/animals/moderation",
        "/animals/moderation/cases/{case}",
        "/animals/moderation/appeals",
        "/animals/moderation/decisions",
        "/animals/moderation/audit-log",
        "/animals/join",
    ],
    "": [
        "/animals",
        "/animals/search",
        "/animals/posts/{shown}",
        "/animals/offline",
        "/animals/account-deleted",
        "/animals/nothing",
        "/sign-in",
        "/sign-up",
    ],
}


@pytest.mark.parametrize(
    ("lang", "width", "theme", "rules"),
    [
        ("ja", 390, "light", {}),
        ("en", 1280, "dark", {"runOnly": ["color-contrast", "target-size"]}),
    ],
)
def test_pages_have_no_accessibility_violations_and_fit_the_screen(
    chromium, content, server, lang, width, theme, rules
):
    found = []
    for name, paths in PAGES.items():
        visit = Visit(chromium, server, lang, width, scripts=True)
        visit.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        if name:
            visit.sign_in(name)
        for path in paths:
            answer = visit.page.goto(server + path.format(**content))
            assert answer.status == (404 if "nothing" in path else 200), path
            visit.fits()
            found += [
                (path, violation["id"], violation["nodes"][0]["html"][:90])
                for violation in Axe().run(visit.page, options=rules).response["violations"]
            ]
        visit.context.close()
    assert found == []


def test_a_first_view_is_small_and_has_no_layout_shifts(chromium, content, server):
    for path in ("/animals", "/animals/posts/{shown}", "/animals/post", "/animals/search?q=mugi"):
        visit = Visit(chromium, server, "ja", 390, scripts=True)
        visit.context.new_page().goto(
            f"{server}/animals/offline"
        )  # the browser is warm, this page's cache is not
        network_log = visit.context.new_cdp_session(visit.page)
        network_log.send("Network.enable")
        sizes: dict[str, float] = {}
        urls: dict[str, str] = {}
        network_log.on(
            "Network.responseReceived",
            lambda event: urls.update({event["requestId"]: event["response"]["url"]}),  # noqa: B023
        )
        network_log.on(
            "Network.loadingFinished",
            lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}),  # noqa: B023
        )
        visit.page.goto(server + path.format(**content), wait_until="networkidle")
        sent = sum(size for id_, size in sizes.items() if "/pictures/" not in urls.get(id_, ""))
        assert 10_000 < sent <= MAX_FIRST_VIEW_BYTES, (path, sent)
        visit.page.mouse.wheel(0, 3_000)
        assert visit.page.evaluate(LAYOUT_SHIFTS_SCRIPT) == [], path
        assert visit.faults == [] or path == "/animals/post", visit.faults
        visit.context.close()


def test_pictures_load_lazily_with_their_size_known(chromium, content, server):
    visit = Visit(chromium, server, "en", 390, scripts=False)
    asked: list[str] = []
    visit.page.on(
        "request", lambda request: "/pictures/" in request.url and asked.append(request.url)
    )
    visit.page.goto(f"{server}/animals/newest", wait_until="networkidle")
    images = visit.page.locator(".photo .picture img")
    assert images.count() == 24 > len(asked) > 0
    assert all(
        image.get_attribute("width") and image.get_attribute("height") for image in images.all()
    )
    assert [image.get_attribute("loading") for image in images.all()[:2]] == [None, "lazy"]
    visit.context.close()


def test_scrolling_loads_more_photos_and_updates_the_address(chromium, content, server):
    visit = Visit(chromium, server, "en", 390, scripts=True)
    visit.go("/animals/newest")
    cards = visit.page.locator(".photo")
    expect(cards).to_have_count(24)
    visit.page.mouse.wheel(0, 20_000)
    expect(cards).to_have_count(30)
    assert (
        len(
            set(
                visit.page.locator("[data-post]").evaluate_all(
                    "all => all.map(each => each.dataset.post)"
                )
            )
        )
        == 30
    )
    visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(visit.page).to_have_url(re.compile("after="))
    visit.page.reload()
    expect(cards).to_have_count(6)
    visit.page.locator(".pager a").first.click()
    expect(cards).to_have_count(24)
    assert visit.faults == []
    visit.context.close()


def test_everything_works_without_scripts(chromium, content, home, server):
    ken, shown = Visit(chromium, server, "en", 390, scripts=False), content["shown"]
    ken.sign_in("ken")
    ken.go("/animals/newest")
    ken.page.locator(f"[data-post='{shown}'] button.like-button").click()
    expect(ken.page.locator(f"[data-post='{shown}'] button.like-button")).to_have_attribute(
        "aria-pressed", "false"
    )
    expect(ken.page).to_have_url(re.compile("/animals/newest$"))
    ken.page.locator("a[rel=next]").click()
    expect(ken.page.locator(".photo")).to_have_count(6)
    ken.go("/animals/post")
    ken.page.set_input_files(
        "input[name=photo]",
        {"name": "dog.jpg", "mimeType": "image/jpeg", "buffer": make_picture(9, 320, 240)},
    )
    ken.page.fill("input[name=title]", "Rex")
    ken.page.select_option("select[name=category]", "dog")
    ken.page.click("[data-submit]")
    expect(ken.page.locator("h1")).to_have_text("Rex")
    ken.page.click("main details.dropdown summary")
    ken.page.get_by_role("button", name="Delete").click()
    ken.page.get_by_role("button", name="Undo").click()
    expect(ken.page.locator(".flash")).to_have_text("Your post is back.")
    mod = Visit(chromium, server, "en", 390, scripts=False)
    mod.sign_in("mod")
    mod.go("/animals/moderation")
    mod.page.locator(".concealed label").click()
    mod.page.get_by_role("button", name="Nothing is wrong").click()
    expect(mod.page.locator(".flash")).to_have_text("Decided: Nothing is wrong.")
    for visit in (ken, mod):
        assert visit.faults == []
        visit.context.close()


def test_autocomplete_works_with_the_keyboard(chromium, content, server):
    visit = Visit(chromium, server, "en", 390, scripts=True)
    visit.go("/animals/search")
    box = visit.page.get_by_role("combobox")
    box.press_sequentially("mu")
    option = visit.page.get_by_role("option").first
    expect(option).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == option.get_attribute("id")
    box.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press("ArrowDown")
    expect(option).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")
    expect(visit.page).to_have_url(re.compile(r"\?q=mugi"))
    assert visit.faults == []
    visit.context.close()


def test_offline_the_app_shows_its_page_and_cached_pictures(chromium, content, server):
    visit = Visit(chromium, server, "ja", 390, scripts=True)
    visit.go("/animals/newest")
    visit.page.evaluate(WORKER_CONTROLS_SCRIPT)
    visit.page.reload(wait_until="networkidle")
    first = visit.page.locator(".photo .picture img").first.evaluate("img => img.currentSrc")
    visit.context.set_offline(True)
    visit.page.goto(f"{server}/animals/posts/{content['shown']}")
    expect(visit.page.locator("h1")).to_have_text("オフラインです")
    assert (
        visit.page.evaluate("getComputedStyle(document.querySelector('.button')).borderRadius")
        == "8px"
    )  # its style is there, too
    assert visit.page.evaluate("url => fetch(url).then(answer => answer.status)", first) == 200
    assert visit.page.evaluate(CACHED_PAGES_SCRIPT) == ["/animals/offline"]
    visit.context.close()


def test_seen_opened_and_dwell_events_are_logged(chromium, content, home, server):
    visit, found = Visit(chromium, server, "en", 390, scripts=True), {}
    visit.go("/animals/members/hana")
    request = visit.page.locator("[data-request]").get_attribute("data-request")
    visit.page.wait_for_timeout(800)
    visit.page.locator(".photo h2 a").first.click()
    expect(visit.page.locator("h1")).to_have_text("Mugi 0")
    visit.page.wait_for_timeout(500)
    visit.go("/animals/credits")
    for _ in range(50):
        with home.db.read() as db:
            told = [
                event
                for event in db.scalars(select(Event))
                if event.values.get("request") == request
            ]
        found = {
            event.kind: event.values
            for event in told
            if event.values.get("post") == content["shown"]
        }
        if len(found) == 3:
            break
        visit.page.wait_for_timeout(100)
    assert sorted(found) == ["dwell", "open", "seen"]
    assert {values["position"] for values in found.values()} == {0}
    assert 300 <= found["dwell"]["ms"] < 60_000
    assert visit.faults == []
    visit.context.close()

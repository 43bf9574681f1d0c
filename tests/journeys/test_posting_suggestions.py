"""Suggestions for a photo and the comparison slider, in a real browser."""

import os

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tanuki.animals.enhance import advice, apply
from tests.factories.animal_pictures import (
    build_encoder_files,
    draw_scene,
    encode_jpeg,
    make_encoder_live,
    make_pet_post,
)
from tests.factories.browser import Visit
from tests.factories.members_and_posts import NOW, make_member
from tests.factories.server_process import run_server

pytestmark = pytest.mark.browser
SCREENSHOT_FOLDER = os.environ.get("SHOTS")  # a folder for screenshots, to look at


def take_screenshot(visit, name):
    if SCREENSHOT_FOLDER:
        visit.page.screenshot(path=f"{SCREENSHOT_FOLDER}/{name}.png", full_page=True)


def choose_photo(visit, seed, name="photo.jpg", image=None):
    content = encode_jpeg(draw_scene(seed) if image is None else image)
    visit.page.set_input_files(
        "input[name=photo]", {"name": name, "mimeType": "image/jpeg", "buffer": content}
    )
    expect(visit.page.locator("[data-status]")).not_to_have_text("", timeout=15_000)


@pytest.mark.parametrize(("lang", "width"), [("ja", 390), ("en", 1280)])
def test_suggestions_are_accepted_dropped_and_replaced_with_the_photo(
    chromium, home, tmp_path, lang, width
):
    make_encoder_live(home, build_encoder_files(tmp_path / "encoder"))
    hana, ken = make_member(home, "hana"), make_member(home, "ken")
    make_pet_post(home, hana, draw_scene(1), title="A nap", tags=("sunny", "昼寝"), category="cat")
    make_pet_post(
        home,
        make_member(home, "mei"),
        draw_scene(1)[:, ::-1].copy(),
        title="Nap time",
        tags=("sunny", "昼寝"),
        category="cat",
    )
    with run_server(home) as server:
        visit = Visit(chromium, server, lang, width, scripts=True)
        visit.sign_in(ken.name)
        visit.go("/animals/post")
        choose_photo(visit, 1)
        page = visit.page
        expect(page.locator("[data-suggestion-panel]")).to_be_visible(timeout=15_000)
        expect(page.locator(".notice.warn")).to_have_count(2)
        sunny = page.locator("input[name=accepted][data-value=sunny]")
        expect(sunny).not_to_be_checked()
        assert page.input_value("input[name=tags]") == ""
        visit.fits()
        take_screenshot(visit, f"suggested-{lang}")
        assert (
            Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"] == []
        )
        sunny.focus()
        page.keyboard.press("Space")
        assert page.input_value("input[name=tags]") == "sunny"
        page.keyboard.press("Space")
        assert page.input_value("input[name=tags]") == ""
        sunny.check()
        page.fill("input[name=tags]", "my own")
        expect(sunny).not_to_be_checked()
        page.fill("input[name=tags]", "")
        page.locator("input[name=accepted][data-value=昼寝]").check()
        sunny.check()
        choose_photo(visit, 2)
        expect(page.locator("input[data-value=sunny]")).to_have_count(0)
        assert page.input_value("input[name=tags]") == ""
        page.fill("input[name=title]", "Rex")
        page.select_option("select[name=category]", "dog")
        page.click("[data-submit]")
        expect(page.locator("h1")).to_have_text("Rex")
        assert visit.faults == []
        visit.context.close()


def test_the_comparison_slider_works_with_the_keyboard(chromium, home, tmp_path, monkeypatch):
    hana = make_member(home, "hana")
    make_encoder_live(home, build_encoder_files(tmp_path / "encoder"))
    made = make_pet_post(home, hana, draw_scene(3, 240, 180), title="Small")
    monkeypatch.setattr(advice, "MIN_CRISPNESS", 0.0)
    apply.make_enhancement(home, hana, made.id, now=NOW)
    with run_server(home) as server:
        for scripts in (True, False):
            visit = Visit(chromium, server, "en", 390, scripts=scripts)
            visit.sign_in("hana")
            visit.go(f"/animals/posts/{made.id}/enhancement")
            page = visit.page
            expect(page.locator("[data-compare] img")).to_have_count(2)
            take_screenshot(visit, f"better-{scripts}")
            if scripts:
                slide = page.get_by_role("slider")
                slide.focus()
                page.keyboard.press("End")
                assert (
                    page.locator("[data-compare]").evaluate(
                        "box => box.style.getPropertyValue('--position')"
                    )
                    == "100%"
                )
                assert (
                    Axe()
                    .run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
                    .response["violations"]
                    == []
                )
            else:
                page.get_by_role("button", name="Use the improved photo").click()
                expect(page.locator(".flash")).to_have_text(
                    "Your post now shows the improved photo."
                )
            assert visit.faults == []
            visit.context.close()


def test_without_scripts_suggestions_come_with_a_button(chromium, home, tmp_path):
    make_encoder_live(home, build_encoder_files(tmp_path / "encoder"))
    for name in ("hana", "mei"):
        make_pet_post(
            home,
            make_member(home, name),
            draw_scene(1) if name == "hana" else draw_scene(1)[:, ::-1].copy(),
            title="A nap",
            tags=("sunny",),
            category="cat",
        )
    make_member(home, "ken")
    with run_server(home) as server:
        visit = Visit(chromium, server, "en", 390, scripts=False)
        visit.sign_in("ken")
        visit.go("/animals/post")
        page = visit.page
        page.set_input_files(
            "input[name=photo]",
            {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": encode_jpeg(draw_scene(1))},
        )
        page.get_by_role("button", name="Get suggestions first").click()
        expect(page.locator(".notice.warn")).to_have_count(2)
        page.get_by_label("sunny").check()
        page.fill("input[name=title]", "Mine")
        page.click("[data-submit]")
        expect(page.locator("[role=alert]")).to_have_text("Please choose a category.")
        expect(page.get_by_label("sunny")).to_be_checked()
        page.select_option("select[name=category]", "cat")
        page.click("[data-submit]")
        expect(page.locator("h1")).to_have_text("Mine")
        expect(page.locator(".chip", has_text="#sunny")).to_have_count(1)
        visit.context.close()

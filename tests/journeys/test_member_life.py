"""A member's life on a phone, in both languages: from signing up to account deletion."""

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.factories.browser import Visit
from tests.factories.http_clients import PASSWORD
from tests.factories.members_and_posts import make_member, make_picture, make_staff
from tests.factories.server_process import CHROMIUM, CHROMIUM_FLAGS

pytestmark = pytest.mark.browser

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
TEXTS = {
    "en": {
        "sign up": "Sign up",
        "menu": "Menu",
        "checking": "being checked",
        "removed": "A moderator removed this post",
        "reason": "Not an animal",
        "appealed": "You appealed. Another moderator",
        "nothing": "The queue is empty",
        "no submit_appeal": "No appeals are waiting",
        "goodbye": "Your account is deleted",
        "found": "Nothing found",
    },
    "ja": {
        "sign up": "新規登録",
        "menu": "メニュー",
        "checking": "写真を確認しています",
        "removed": "モデレーターがこの投稿を削除しました",
        "reason": "動物ではない",
        "appealed": "異議申し立てを受け付けました",
        "nothing": "対応待ちの通報はありません",
        "no submit_appeal": "未回答の異議申し立てはありません",
        "goodbye": "アカウントは削除され",
        "found": "見つかりませんでした",
    },
}


@pytest.fixture(scope="module")
def phones() -> Iterator[Browser]:
    """Chromium with a camera that shows a test picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *CAMERA]
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_member_posts_is_reported_appeals_and_deletes_their_account(phones, home, server, lang):
    texts = TEXTS[lang]
    make_member(home, "ken")
    for name in ("mod", "mod-2"):
        make_staff(home, name, "moderator")
    hana, ken, mod, second = (Visit(phones, server, lang, 390, scripts=True) for _ in range(4))

    sign_up(hana, texts)
    path = post_chosen_photo(hana, texts)
    post_camera_photo(hana)
    search_for(hana, "猫", "ひなたのムギ")
    search_for(hana, "cat", "ひなたのムギ")

    for visit, name in ((ken, "ken"), (mod, "mod"), (second, "mod-2")):
        visit.sign_in(name)
    like_comment_follow_and_report(ken, path)
    remove_by_keyboard(mod, texts)
    submit_appeal(hana, path, texts)
    mod.go("/animals/moderation/appeals")
    expect(mod.page.locator("main")).to_contain_text(
        texts["no submit_appeal"]
    )  # it is their own decision
    restore_by_keyboard(second, texts)

    ken.go("/animals/newest")
    expect(ken.page.locator("main")).to_contain_text("ひなたのムギ")
    ken.go(path)
    expect(ken.page.locator("button.like-button [data-count]")).to_have_text("1")
    export_and_delete_account(hana, texts)
    assert ken.page.goto(f"{server}{path}").status == 404
    ken.go("/animals/search?q=猫")
    expect(ken.page.locator("main")).to_contain_text(texts["found"])
    ken.faults = [fault for fault in ken.faults if "404" not in fault]
    for visit in (hana, ken, mod, second):
        assert visit.faults == []
        visit.context.close()


def sign_up(hana, texts):
    hana.page.goto(hana.server)
    expect(hana.page).to_have_url(re.compile("/animals$"))
    hana.page.get_by_label(texts["menu"], exact=True).click()
    hana.page.get_by_role("link", name=texts["sign up"]).click()
    hana.page.fill("input[name=name]", "hana")
    hana.page.fill("input[name=display]", "はなこ")
    for field in ("password", "again"):
        hana.page.fill(f"input[name={field}]", PASSWORD)
    hana.page.click("main form button")
    expect(hana.page).to_have_url(re.compile("/animals"))
    hana.fits()


def fill_post_form(hana, title, tags):
    hana.page.fill("input[name=title]", title)
    hana.page.select_option("select[name=category]", "cat")
    assert hana.page.locator("select[name=breed] optgroup").count() == 1
    hana.page.select_option("select[name=breed]", "calico")
    hana.page.fill("input[name=tags]", tags)
    hana.fits()
    hana.page.click("[data-submit]")
    expect(hana.page).to_have_url(re.compile(r"/animals/posts/\d+$"))


def post_chosen_photo(hana, texts):
    """Post a chosen photo; its page changes to published by itself. Gives its path."""
    hana.page.locator(".main-nav .post a").click()
    hana.page.set_input_files(
        "input[name=photo]",
        {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": make_picture(1, 640, 480)},
    )
    expect(hana.page.locator("[data-preview] canvas")).to_be_visible()
    fill_post_form(hana, "ひなたのムギ", "昼寝 sun")
    expect(hana.page.locator("[data-checking]")).to_have_count(0, timeout=20_000)
    assert texts["checking"] not in hana.page.locator("main").inner_text()
    hana.fits()
    return "/" + hana.page.url.split("/", 3)[3]


def post_camera_photo(hana):
    hana.go("/animals/post")
    hana.page.locator("label.button:has([data-camera])").click()
    lens = hana.page.locator("dialog[data-camera-dialog]")
    expect(lens).to_be_visible()
    hana.page.wait_for_function(
        "document.querySelector('[data-camera-dialog] video').videoWidth > 0"
    )
    lens.locator("[data-shutter]").click()
    expect(lens).to_be_hidden()
    expect(hana.page.locator("[data-preview] canvas")).to_be_visible()
    fill_post_form(hana, "Boots", "camera")
    expect(hana.page.locator("[data-checking]")).to_have_count(0, timeout=20_000)


def search_for(hana, query, title):
    """By the search box, with the keyboard."""
    hana.go("/animals/search")
    hana.page.locator("main input[name=q]").press_sequentially(query)
    expect(hana.page.locator("main [role=option]").first).to_be_visible()
    hana.page.keyboard.press("Escape")
    hana.page.keyboard.press("Enter")
    expect(hana.page).to_have_url(re.compile(r"\?q="))
    expect(hana.page.locator(".photos")).to_contain_text(title)


def like_comment_follow_and_report(ken, path):
    ken.go(path)
    like = ken.page.locator("main button.like-button")
    like.click()
    expect(like).to_have_attribute("aria-pressed", "true")
    expect(like.locator("[data-count]")).to_have_text("1")
    follow = ken.page.locator("main button.toggle")
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    ken.page.wait_for_load_state("networkidle")
    ken.page.fill("textarea[name=text]", "かわいい！")
    ken.page.click(".comment-form button")
    expect(ken.page.locator("ol.comments")).to_contain_text("かわいい！")
    expect(like).to_have_attribute("aria-pressed", "true")  # it was kept, not only shown
    ken.page.locator("main details.dropdown summary").click()
    ken.page.locator("main .dropdown-panel a[href*=report]").click()
    ken.page.locator("input[value=not_an_animal]").check()
    ken.page.fill("textarea[name=text]", "It is a cushion.")
    ken.page.click("main form button")
    expect(ken.page).to_have_url(re.compile(f"{path}$"))


def remove_by_keyboard(mod, texts):
    mod.go("/animals/moderation")
    picture_shown = mod.page.locator(".concealed img")
    assert "blur" in picture_shown.evaluate("img => getComputedStyle(img).filter")
    mod.page.keyboard.press("v")
    assert picture_shown.evaluate("img => getComputedStyle(img).filter") == "none"
    mod.page.keyboard.press("8")
    expect(mod.page.locator("input[value=not_an_animal]")).to_be_checked()
    mod.page.keyboard.press("/")
    mod.page.keyboard.type("A cushion, r.")
    mod.page.keyboard.press("Escape")
    mod.page.keyboard.press("r")
    expect(mod.page.locator("main")).to_contain_text(texts["nothing"])


def submit_appeal(hana, path, texts):
    hana.go("/animals/notifications")
    hana.page.locator(f".notifications a.stretched-link[href='{path}']").first.click()
    notice = hana.page.locator("main .notice")
    for text in (texts["removed"], texts["reason"], "A cushion, r."):
        expect(notice).to_contain_text(text)
    notice.locator("a[href*=appeals]").click()
    hana.page.fill("textarea[name=text]", "座布団の上の猫です。")
    hana.page.click("main form button")
    expect(hana.page.locator("main")).to_contain_text(texts["appealed"])


def restore_by_keyboard(second, texts):
    second.go("/animals/moderation/appeals")
    expect(second.page.locator("main")).to_contain_text("座布団の上の猫です。")
    second.page.keyboard.press("/")
    second.page.keyboard.type("You are right.")
    second.page.keyboard.press("Escape")
    second.page.keyboard.press("o")
    expect(second.page.locator("main")).to_contain_text(texts["no submit_appeal"])


def export_and_delete_account(hana, texts):
    hana.go("/animals/data")
    with hana.page.expect_download() as download:
        hana.page.click("form[action$='export.zip'] button")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert "ひなたのムギ" in archive.read("posts.json").decode()
        assert sum(name.endswith(".jpg") for name in archive.namelist()) == 2
    hana.page.fill("input[name=password]", PASSWORD)
    hana.page.locator("input[name=confirmed]").check()
    hana.page.click("form[action='/animals/delete-account'] button")
    expect(hana.page.locator("main")).to_contain_text(texts["goodbye"])

"""Suggestions for a new post: near duplicates, subject, titles, tags, hints and visibility."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import select

from tanuki.animals import events, members
from tanuki.animals.assist import captions, near_duplicates, suggestions
from tanuki.animals.moderation import cases, decisions
from tanuki.animals.tables import ImageFeatures, Photo
from tanuki.animals.vision import embeddings
from tanuki.errors import TooMany, UserError
from tests.factories.animal_pictures import (
    build_encoder_files,
    draw_scene,
    encode_jpeg,
    make_encoder_live,
    make_pet_post,
)
from tests.factories.decoding import clean_image
from tests.factories.members_and_posts import NOW, make_member, make_staff

DATA = Path(__file__).parents[4] / "shared" / "data"

PHOTOS = sorted((DATA / "photos").glob("*.jpg"))
requires_photos = pytest.mark.skipif(not PHOTOS, reason="there are no photos")


def crop(image, share):
    height, width = image.shape[:2]
    top, left = int(height * (1 - share) * 0.3), int(width * (1 - share) * 0.8)
    return np.ascontiguousarray(
        image[top : top + int(height * share), left : left + int(width * share)]
    )


def rotate(image, degrees):
    height, width = image.shape[:2]
    return cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1),
        (width, height),
        borderValue=(255, 255, 255),
    )


EDITS = {
    "saved again": lambda image: cv2.cvtColor(
        cv2.imdecode(np.frombuffer(encode_jpeg(image, 40), np.uint8), 1), cv2.COLOR_BGR2RGB
    ),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "double": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "cropped": lambda image: crop(image, 0.8),
    "cropped and framed": lambda image: cv2.copyMakeBorder(
        crop(image, 0.85), 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ),
    "framed": lambda image: cv2.copyMakeBorder(
        image, 24, 24, 40, 40, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ),
    "tilted": lambda image: rotate(image, 7),
    "on its side": lambda image: np.ascontiguousarray(np.rot90(image)),
    "upside down": lambda image: np.ascontiguousarray(np.rot90(image, 2)),
    "mirrored": near_duplicates.mirror,
    "lighter": lambda image: np.clip(image * 1.2 + 10, 0, 255).astype(np.uint8),
}


# ---- near duplicates of images -----------------------------------------------------------------


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_image_is_recognised(edit):
    edited_image = EDITS[edit](draw_scene())
    candidates = [
        near_duplicates.extract_keypoints(edited_image),
        near_duplicates.extract_keypoints(near_duplicates.mirror(edited_image)),
    ]
    original = near_duplicates.extract_keypoints(draw_scene())
    assert any(near_duplicates.is_same_picture(keypoints, original) for keypoints in candidates)


def test_different_images_are_not_recognised():
    all_keypoints = [near_duplicates.extract_keypoints(draw_scene(seed)) for seed in range(12)]
    assert [
        (a, b)
        for a in range(12)
        for b in range(a)
        if near_duplicates.is_same_picture(all_keypoints[a], all_keypoints[b])
    ] == []
    flat = near_duplicates.extract_keypoints(np.full((40, 60, 3), 120, np.uint8))
    assert not near_duplicates.is_same_picture(flat, flat)


def test_a_common_detail_does_not_make_two_images_equal():
    first, second = draw_scene(5), draw_scene(6)
    first[10:80, 10:110] = second[10:80, 10:110] = draw_scene(9)[10:80, 10:110]
    keypoints = [near_duplicates.extract_keypoints(image) for image in (first, second)]
    assert not near_duplicates.is_same_picture(*keypoints)


@requires_photos
def test_edited_real_photos_are_recognised_and_not_confused():
    images = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in PHOTOS[40:52]]
    keypoints = [near_duplicates.extract_keypoints(image) for image in images]
    for n, photo in enumerate(images):
        for edit in ("cropped", "framed", "on its side"):
            edited = near_duplicates.extract_keypoints(EDITS[edit](photo))
            matches = [near_duplicates.is_same_picture(edited, original) for original in keypoints]
            assert matches == [number == n for number in range(12)], edit


# ---- suggestions for a photo -------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder_files(tmp_path_factory):
    """The files of the real image model."""
    return build_encoder_files(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def hana(resources, encoder_files):
    """A member of a site with a live image model."""
    make_encoder_live(resources, encoder_files)
    return make_member(resources, "hana")


@pytest.fixture
def ken(resources):
    return make_member(resources, "ken")


def suggest(res, person, image):
    clean_photo = clean_image(encode_jpeg(image))
    with res.db.read() as db:
        return suggestions.suggest_for_photo(res, db, person, clean_photo, now=NOW)


def list_near_duplicates(res, person, image):
    return [
        (duplicate.post.id, duplicate.mine)
        for duplicate in suggest(res, person, image).near_duplicates
    ]


def test_near_duplicates_are_published_posts_and_own_posts(resources, hana, ken):
    published_post = make_pet_post(resources, hana, draw_scene(1))
    checking_post = make_pet_post(resources, hana, draw_scene(2), state="checking")
    held_post = make_pet_post(resources, hana, draw_scene(3), state="held")
    for image in (
        draw_scene(1),
        EDITS["cropped"](draw_scene(1)),
        EDITS["on its side"](draw_scene(1)),
    ):
        assert list_near_duplicates(resources, ken, image) == [(published_post.id, False)]
        assert list_near_duplicates(resources, hana, image) == [(published_post.id, True)]
    for seed, own in ((2, checking_post), (3, held_post)):
        assert list_near_duplicates(resources, ken, draw_scene(seed)) == []
        assert list_near_duplicates(resources, hana, draw_scene(seed)) == [(own.id, True)]
        assert list_near_duplicates(resources, hana, EDITS["half"](draw_scene(seed))) == [
            (own.id, True)
        ]


def test_hidden_posts_are_no_near_duplicates(resources, hana, ken):
    make_pet_post(resources, hana, draw_scene(1), state="deleted")
    removed_post, published_post = (
        make_pet_post(resources, hana, draw_scene(2)),
        make_pet_post(resources, hana, draw_scene(3)),
    )
    mod = make_staff(resources, "mod")
    with resources.db.write() as db:
        subject = cases.SubjectRef("post", removed_post.id)
        removal = decisions.Ruling("remove", "stolen", "")
        decisions.decide_subject(db, mod, subject, removal, now=NOW)
    for person in (hana, ken):
        assert list_near_duplicates(resources, person, draw_scene(1)) == []
        assert list_near_duplicates(resources, person, draw_scene(2)) == []
    assert list_near_duplicates(resources, ken, draw_scene(3)) == [(published_post.id, False)]
    for blocked_name, blocker in (("hana", ken), ("ken", hana)):
        with resources.db.write() as db:
            members.block_member(db, blocker, blocked_name, "block", now=NOW)
        assert list_near_duplicates(resources, ken, draw_scene(3)) == []
        result = suggest(resources, ken, draw_scene(3))
        assert (
            "Cat" not in str([suggestion.text for suggestion in (*result.titles, *result.tags)])
            or result.subject is not None
        )
        with resources.db.write() as db:
            members.unblock_member(db, blocker, blocked_name)


@requires_photos
def test_the_subject_is_named_in_both_languages_with_its_confidence(resources, hana):
    photo = DATA / "photos" / find_photo_of("dog")
    result = suggest_for_file(resources, hana, photo.read_bytes())
    assert result.subject is not None
    assert result.subject.category == "dog"
    assert result.subject.confidence > 0.5
    assert {title.lang for title in result.titles} == {"ja", "en"}
    assert "犬" in [tag.text for tag in result.tags]


def find_photo_of(label):
    for line in (DATA / "photos" / "manifest.csv").read_text().splitlines():
        if f",animal,{label}," in line:
            return line.split(",")[0]
    raise AssertionError(label)


def suggest_for_file(res, person, content):
    clean_photo = clean_image(content)
    with res.db.read() as db:
        return suggestions.suggest_for_photo(res, db, person, clean_photo, now=NOW)


def test_tags_of_similar_posts_are_suggested_if_common_or_own(resources, hana, ken):
    mei = make_member(resources, "mei")
    make_pet_post(
        resources, hana, draw_scene(1), title="Nap time", tags=("sunny", "mugi"), category="cat"
    )
    make_pet_post(
        resources,
        ken,
        EDITS["lighter"](draw_scene(1)),
        title="A nap",
        tags=("sunny", "pochi"),
        category="cat",
    )
    tags = [tag.text for tag in suggest(resources, mei, EDITS["saved again"](draw_scene(1))).tags]
    assert "sunny" in tags
    assert "nap" in tags
    assert "mugi" not in tags
    assert "pochi" not in tags
    assert "mugi" in [tag.text for tag in suggest(resources, hana, draw_scene(1)).tags]


def test_without_an_image_model_hints_and_near_duplicates_remain(resources, hana, monkeypatch):
    post = make_pet_post(resources, hana, draw_scene(1))

    def fail(*_):
        raise UserError("The image model does not answer.")

    monkeypatch.setattr(embeddings.ImageEncoder, "encode", fail)
    result = suggest(resources, hana, draw_scene(1))
    assert (result.subject, result.titles, result.tags) == (None, [], [])
    assert [(duplicate.post.id, duplicate.mine) for duplicate in result.near_duplicates] == [
        (post.id, True)
    ]


def test_dark_blurred_and_small_photos_get_hints(resources, hana):
    large = cv2.resize(draw_scene(1), (1280, 960), interpolation=cv2.INTER_NEAREST)
    dark = np.clip(large * 0.25, 0, 255).astype(np.uint8)
    assert suggest(resources, hana, large).hints == []
    assert "dark" in suggest(resources, hana, dark).hints
    assert suggest(resources, hana, cv2.GaussianBlur(large, (0, 0), 6)).hints == ["blurred"]
    assert suggest(resources, hana, draw_scene(1)).hints == ["small"]


def test_suggestions_are_rate_limited_and_store_nothing(resources, hana):
    with resources.db.read() as db:
        before = db.scalars(select(Photo.digest)).all(), db.scalars(select(ImageFeatures.id)).all()
    suggest(resources, hana, draw_scene(1))
    with resources.db.read() as db:
        assert (
            db.scalars(select(Photo.digest)).all(),
            db.scalars(select(ImageFeatures.id)).all(),
        ) == before
    with resources.db.write() as db:
        for _ in range(suggestions.SUGGESTIONS_PER_MEMBER.max_uses):
            suggestions.count_request(db, hana, now=NOW)
        with pytest.raises(TooMany):
            suggestions.count_request(db, hana, now=NOW)


# ---- titles and tags ---------------------------------------------------------------------------


def test_tags_are_unique_words_with_their_language():
    subject_names = {"ja": "柴犬", "en": "Shiba Inu"}
    tags = captions.suggest_tags(subject_names, "dog", ["昼寝", "nap", "dogs", "柴犬"])
    assert [(tag.text, tag.lang) for tag in tags] == [
        ("柴犬", "ja"), ("犬", "ja"), ("昼寝", "ja"),
        ("shibainu", "en"), ("dogs", "en"), ("nap", "en"),
    ]  # fmt: skip


def test_titles_are_the_name_with_and_without_the_commonest_word():
    titles = captions.suggest_titles({"ja": "柴犬", "en": "Shiba Inu"}, ["nap", "昼寝"])
    assert [title.text for title in titles] == ["柴犬", "柴犬・昼寝", "Shiba Inu", "Shiba Inu, nap"]


# ---- accepted suggestions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"request": "x", "offered": []}',
        '{"request": "abcdefgh12", "offered": [{"what": "x"}]}',
        '{"request": "abcdefgh12", "offered":'
        ' [{"what": "tag", "value": 3, "lang": "ja", "source": "image_model"}]}',
    ],
)
def test_invalid_suggestions_of_a_form_are_refused(text):
    with pytest.raises(UserError):
        events.parse_suggestions(text)


def test_suggestions_of_a_form_are_parsed():
    text = (
        '{"request": "abcdefgh12", "offered":'
        ' [{"what": "tag", "value": "nap", "lang": "en", "source": "posts", "more": 1}]}'
    )
    assert events.parse_suggestions(text) == [
        {"what": "tag", "value": "nap", "lang": "en", "source": "posts"}
    ]

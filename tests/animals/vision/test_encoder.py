"""The image encoder: its weights, its graph and numbers, measurements, the subject's name."""

import io
import json
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageDraw, ImageFilter

from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.vision import encoder, labels, onnx_export, torch_weights
from tanuki.animals.vision.embeddings import identify_subject
from tanuki.animals.vision.encoder import EncoderOutput
from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import OnnxRunner
from tests.factories.members_and_posts import make_picture

SCORED = [(885, 0.26394), (782, 0.05556), (714, 0.02227), (818, 0.01782)]
REFERENCE = [
    -0.15551,
    0.01363,
    -0.16588,
    -0.16939,
    0.06911,
    0.07143,
    0.03596,
    0.10576,
    0.00474,
    -0.01822,
    -0.0175,
    0.07543,
]


class BuiltEncoder:
    """A built version, in this process."""

    def __init__(self, folder):
        self.said = json.loads((folder / "model.json").read_text())
        self.runner = OnnxRunner(folder, self.said)

    def infer(self, inputs):
        return self.runner.run(inputs)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    encoder.build_encoder(folder)
    return BuiltEncoder(folder)


def drawn(size=224):
    """A picture that any machine draws alike: waves of colour, as bytes."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64) / size
    bands = [np.sin(9 * x + 4 * y), np.cos(7 * y - 3 * x), np.sin(20 * x * y)]
    return np.stack([np.round(127.5 + 127 * band) for band in bands], axis=-1).astype(np.uint8)


def jpeg(image, quality=90):
    made = io.BytesIO()
    image.save(made, "JPEG", quality=quality)
    return made.getvalue()


def scene(width=640, height=480, seed=3):
    return Image.open(io.BytesIO(make_picture(seed, width, height)))


# ---- weights and graph ---------------------------------------------------------------------------------------------


def test_the_graph_gives_the_numbers_that_are_on_record(ours):
    out = ours.infer({"image": drawn()[None]})
    best = np.argsort(-out["scores"][0])[:4]
    assert [int(n) for n in best] == [n for n, _ in SCORED]
    assert out["scores"][0][best] == pytest.approx([share for _, share in SCORED], abs=2e-4)
    assert out["embedding"][0][:12] == pytest.approx(REFERENCE, abs=2e-4)


def convolved(x, weight, stride):
    """Channels first, padded as TensorFlow does: the dumb way."""
    side = weight.shape[-1]
    padding = [max((-(-n // stride) - 1) * stride + side - n, 0) for n in x.shape[1:]]
    x = np.pad(x, [(0, 0), *((each // 2, each - each // 2) for each in padding)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[
        :, ::stride, ::stride
    ]
    if weight.shape[1] == 1:
        return np.einsum("cyxab,cab->cyx", windows, weight[:, 0])
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))


def features_the_dumb_way(image):
    """EfficientNet-Lite0 step by step in numpy, with its batch norms as they were trained."""
    read = torch_weights.load_weights(torch_weights.find_package_weights())

    def layer(x, name, norm, stride=1, relu=True):
        x = convolved(x, read[f"{name}.weight"], stride)
        mean, variance, scale, bias = (
            read[f"{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + 1e-3) * scale + bias
        return np.clip(x, 0, 6) if relu else x

    x = layer((image.astype(np.float32).transpose(2, 0, 1) - 127) / 128, "_conv_stem", "_bn0", 2)
    number = 0
    for repeats, stride in ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)):
        for again in range(repeats):
            at, before = f"_blocks.{number}.", x
            if number:
                x = layer(x, f"{at}_expand_conv", f"{at}_bn0")
            x = layer(x, f"{at}_depthwise_conv", f"{at}_bn1", 1 if again else stride)
            x = layer(x, f"{at}_project_conv", f"{at}_bn2", relu=False)
            x = x + before if again else x
            number += 1
    return layer(x, "_conv_head", "_bn1").mean(axis=(1, 2)), read


def test_the_graph_agrees_with_the_network_computed_step_by_step(ours):
    found, read = features_the_dumb_way(drawn())
    logits = read["_fc.weight"] @ found + read["_fc.bias"]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    out = ours.infer({"image": drawn()[None]})
    assert np.abs(out["scores"][0] - scores).max() < 1e-4
    wanted = np.sqrt(found) @ onnx_export.compute_projection(read, onnx_export.EMBEDDING_DIMENSION)
    assert np.abs(out["embedding"][0] - wanted / np.linalg.norm(wanted)).max() < 1e-4


def test_a_tensor_is_read_by_its_strides():
    storage = np.arange(24, dtype="<f4")
    tensor = torch_weights.Tensor(
        torch_weights.Storage("0", "<f4"), 0, (2, 3, 2, 2), (12, 1, 6, 3)
    )  # channels last
    assert (
        torch_weights.extract_tensor(tensor, storage).tolist()
        == np.arange(24).reshape(2, 2, 2, 3).transpose(0, 3, 1, 2).tolist()
    )


def test_weights_that_want_anything_else_are_refused(tmp_path):
    class Bad:
        def __reduce__(self):
            return print, ("run",)

    file = tmp_path / "bad.pth"
    file.write_bytes(pickle.dumps(Bad()))
    with pytest.raises(pickle.UnpicklingError, match="print"):
        torch_weights.load_weights(file)
    file.write_bytes(b"".join(pickle.dumps(each) for each in (1, 1001, {}, {}, [])))
    with pytest.raises(pickle.UnpicklingError, match="begin like weights"):
        torch_weights.load_weights(file)
    with pytest.raises(pickle.UnpicklingError, match="longer than its storage"):
        torch_weights.extract_tensor(
            torch_weights.Tensor(torch_weights.Storage("0", "<f4"), 2, (2, 2), (2, 1)),
            np.zeros(5, "<f4"),
        )


def test_embeddings_have_length_one_scores_sum_to_one_and_neighbours_in_a_batch_change_nothing(
    ours,
):
    some = np.stack([drawn(), drawn()[::-1], drawn()[:, ::-1], np.zeros((224, 224, 3), np.uint8)])
    together = ours.infer({"image": some})
    assert together["embedding"].shape == (4, onnx_export.EMBEDDING_DIMENSION)
    assert np.linalg.norm(together["embedding"], axis=1) == pytest.approx(1, abs=1e-5)
    assert together["scores"].sum(axis=1) == pytest.approx(1, abs=1e-4)
    alone = np.concatenate([ours.infer({"image": each[None]})["embedding"] for each in some])
    assert np.abs(together["embedding"] - alone).max() < 1e-4
    assert (
        ours.infer({"image": some[:1]})["embedding"].tobytes()
        == ours.infer({"image": some[:1]})["embedding"].tobytes()
    )


def test_the_projection_keeps_directions_at_right_angles_whatever_the_sign_the_machine_finds():
    made = onnx_export.compute_projection(torch_weights.load_weights(torch_weights.find_package_weights()), 32)
    assert made.T @ made == pytest.approx(np.eye(32), abs=1e-4)
    assert (made[np.abs(made).argmax(axis=0), np.arange(32)] > 0).all()


# ---- another network -----------------------------------------------------------------------------------------------


def backbone(folder, *, logits=True, says=None):
    """A network of one's own: the mean colour, and 1000 classes of it."""
    outputs = [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 3])]
    nodes = [helper.make_node("ReduceMean", ["pixels"], ["pooled"], axes=[2, 3], keepdims=0)]
    numbers = []
    if logits:
        nodes.append(helper.make_node("MatMul", ["pooled", "w"], ["classes"]))
        numbers.append(onnx.numpy_helper.from_array(np.eye(3, 1000, dtype=np.float32), "w"))
        outputs.append(helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 1000]))
    taken = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 32, 32])]
    made = helper.make_model(
        helper.make_graph(nodes, "mean", taken, outputs, numbers),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    folder.mkdir(exist_ok=True)
    onnx.save(made, str(folder / "net.onnx"))
    told = {
        "name": "mean colour",
        "input": "pixels",
        "features": "pooled",
        "size": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    (folder / "model.json").write_text(
        json.dumps(told | ({"logits": "classes"} if logits else {}) | (says or {}))
    )
    return folder / "net.onnx"


def test_another_network_takes_our_pictures_on_its_own_scale(tmp_path):
    said = encoder.build_encoder(tmp_path / "built", backbone(tmp_path / "theirs"))
    assert (said["name"], said["size"], said["dimension"]) == ("mean colour", 32, 3)
    theirs = BuiltEncoder(tmp_path / "built")
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    [seen] = encoder.encode_jpegs(theirs, [jpeg(red, 100)], side=32)
    assert seen.embedding == pytest.approx(np.array([1, -1, -1]) / np.sqrt(3), abs=0.02)
    assert seen.classes[0][0] == 0


def test_a_network_without_classes_sees_and_knows_no_subject(tmp_path):
    encoder.build_encoder(tmp_path / "built", backbone(tmp_path / "theirs", logits=False))
    [seen] = encoder.encode_jpegs(BuiltEncoder(tmp_path / "built"), [make_picture(1)], side=32)
    assert (seen.classes, seen.animal_score, identify_subject(seen)) == ([], encoder.ANIMAL_SCORE_WITHOUT_CLASSES, None)
    assert 0 < seen.lightness < 1


@pytest.mark.parametrize(
    ("says", "wrong"),
    [
        ({"input": "nothing"}, "no input nothing"),
        ({"features": "nothing"}, "no output nothing"),
        ({"logits": "pooled"}, "3 classes"),
        ({"colour": "red"}, "does not describe"),
        ({"mean": "red"}, "does not describe"),
    ],
)
def test_a_network_that_is_not_as_described_is_refused_with_a_sentence(tmp_path, says, wrong):
    with pytest.raises(UserError, match=wrong):
        encoder.build_encoder(tmp_path / "built", backbone(tmp_path / "theirs", says=says))


def test_a_file_that_is_no_network_is_refused(tmp_path):
    file = backbone(tmp_path / "theirs")
    file.write_bytes(b"no network at all")
    with pytest.raises(UserError, match="is not a usable image model"):
        encoder.build_encoder(tmp_path / "built", file)
    file.with_name("model.json").unlink()
    with pytest.raises(UserError, match="does not describe"):
        encoder.build_encoder(tmp_path / "built", file)


# ---- a picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 72), (300, 900), (960, 640), (2048, 1365), (30, 4000)])
def test_a_picture_of_any_size_becomes_the_square_of_its_middle(size):
    image = Image.new("RGB", size, (200, 30, 30))
    pen = ImageDraw.Draw(image)
    pen.rectangle(
        (size[0] // 2 - 8, size[1] // 2 - 8, size[0] // 2 + 8, size[1] // 2 + 8), fill=(30, 200, 30)
    )
    made = encoder.prepare_image(jpeg(image))
    assert (made.shape, made.dtype) == ((224, 224, 3), np.uint8)
    assert made[112, 112, 1] > 120
    assert made[2, 2, 0] > 120


def test_the_size_is_read_from_the_head_whatever_stands_before_it():
    for how in ({}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\0" * 500}):
        made = io.BytesIO()
        scene(333, 222).save(made, "JPEG", **how)
        assert encoder.read_jpeg_size(made.getvalue()) == (333, 222)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x10\0\x10\x01"],
)
def test_what_is_no_jpeg_is_refused_with_a_sentence(content):
    with pytest.raises(UserError, match="whole JPEG"):
        encoder.prepare_image(content)


def test_light_sharpness_and_hash_tell_what_they_are_for(ours):
    clear = scene()
    dark, blurred = clear.point(lambda v: v // 5), clear.filter(ImageFilter.GaussianBlur(8))
    as_it_is, darker, softer = encoder.encode_jpegs(
        ours, [jpeg(each) for each in (clear, dark, blurred)]
    )
    assert darker.lightness < 0.3 * as_it_is.lightness
    assert softer.sharpness < 0.2 * as_it_is.sharpness
    assert all(len(seen.phash) == 16 for seen in (as_it_is, darker, softer))


@pytest.mark.parametrize("size", [(1, 2048), (2048, 2), (1, 1)])
def test_a_line_of_pixels_is_looked_at_like_any_picture(ours, size):
    [seen] = encoder.encode_jpegs(ours, [jpeg(Image.new("RGB", size, (10, 20, 30)))])
    assert np.isfinite(seen.embedding).all()
    assert (seen.sharpness, seen.lightness < 0.2) == (pytest.approx(0, abs=5), True)


def apart(one, other):
    return bin(int(one.phash, 16) ^ int(other.phash, 16)).count("1")


def test_a_hash_survives_saving_and_scaling_and_tells_pictures_apart(ours):
    image = scene()
    first, again, small, other = encoder.encode_jpegs(
        ours, [jpeg(image), jpeg(image, 40), jpeg(image.resize((200, 150))), jpeg(scene(seed=4))]
    )
    assert apart(first, again) <= 6
    assert apart(first, small) <= 6
    assert apart(first, other) > 12


# ---- names ---------------------------------------------------------------------------------------------------------


def test_every_class_of_animals_has_a_category_and_names_and_breeds_stand_in_their_category():
    known = labels.imagenet_labels()
    assert len(known) == labels.ANIMAL_CLASSES
    assert all(each.category in CATEGORIES and each.ja and each.en for each in known)
    assert [
        each for each in known if each.breed and BREEDS[each.breed].category != each.category
    ] == []
    assert [
        (known[n].en, known[n].category, known[n].breed) for n in (1, 151, 258, 283, 292, 388)
    ] == [
        ("goldfish", "fish", "goldfish"),
        ("Chihuahua", "dog", "chihuahua"),
        ("Samoyed", "dog", "samoyed"),
        ("Persian", "cat", "persian"),
        ("tiger", "wild", "tiger"),
        ("giant panda", "wild", "panda"),
    ]
    assert len({each.en for each in known}) == len(known)


def seen(*classes, animal=None):
    whole = sum(share for n, share in classes if n < labels.ANIMAL_CLASSES)
    return EncoderOutput(
        np.zeros(2, np.float32),
        list(classes),
        whole if animal is None else animal,
        0.5,
        100.0,
        "0" * 16,
    )


@pytest.mark.parametrize(
    ("classes", "animal", "expected"),
    [
        ([(258, 0.9)], None, ("dog", "samoyed", "Samoyed")),
        (
            [(265, 0.3), (266, 0.3), (267, 0.3)],
            None,
            ("dog", "poodle", "Poodle"),
        ),  # standard and miniature, more than half
        ([(187, 0.3), (192, 0.3), (195, 0.25)], None, ("dog", None, "Dogs")),
        ([(281, 0.35), (282, 0.3), (285, 0.2)], None, ("cat", "tabby", "Brown tabby")),
        ([(286, 0.8)], None, ("wild", None, "cougar")),
        ([(700, 0.9), (281, 0.05)], 0.08, None),
        ([(700, 0.9)], 0.1, None),
        ([(281, 0.1), (151, 0.09)], 0.19, None),
        ([], 0.5, None),
    ],
)
def test_shares_of_a_category_and_a_breed_are_summed_and_little_is_no_subject(
    classes, animal, expected
):
    found = identify_subject(seen(*classes, animal=animal))
    assert (found and (found.category, found.breed, found.en)) == expected
    assert found is None or 0.3 <= found.confidence <= 1


def test_the_likeliest_classes_stand_for_all_in_how_sure_it_is():
    found = identify_subject(seen((187, 0.2), (192, 0.2), (281, 0.1), animal=0.95))
    assert found.category == "dog"
    assert found.confidence == pytest.approx(0.95 * 0.8)

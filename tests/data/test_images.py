import functools
import io
import pickle
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from trainbench.data import decoders, images
from trainbench.data.bad_records import BadRecord
from trainbench.data.decoders import Box
from trainbench.data.settings import DECODERS
from trainbench.errors import UserError

pytest.importorskip("cv2", reason="OpenCV is not installed")

each_decoder = pytest.mark.parametrize("decoder", DECODERS)


@functools.cache
def photo():
    """A real photograph, 640 x 427."""
    stored = resources.files("sklearn").joinpath("datasets", "images", "china.jpg").read_bytes()
    return Image.open(io.BytesIO(stored)).convert("RGB")


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@functools.cache
def jpeg():
    return encoded(photo(), quality=95)


def random():
    return np.random.default_rng(0)


def crop(decoder, size=64, flip=True):
    return images.RandomResizedCrop("image", "label", size, flip, decoder)


def record(image, label=3):
    return {"image": image, "label": label}


def difference(first, second):
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def whole_with(decoder, stored, channels=3):
    return decoders.whole(stored, channels, decoder=decoder)


# --- choosing a decoder


def without_opencv(monkeypatch):
    def missing():
        raise ImportError("No module named 'cv2'")

    monkeypatch.setattr("trainbench.data.decoders.opencv.library", missing)


def test_opencv_is_chosen_where_it_is_installed():
    assert images.choose_decoder(None)[0] == "opencv"
    assert images.choose_decoder("pillow") == ("pillow", "as asked")


def test_pillow_is_chosen_without_opencv_and_says_what_would_be_faster(monkeypatch):
    without_opencv(monkeypatch)
    name, reason = images.choose_decoder(None)
    assert name == "pillow"
    assert "pip install opencv-python-headless" in reason


def test_asking_for_opencv_without_it_names_the_remedy(monkeypatch):
    without_opencv(monkeypatch)
    with pytest.raises(UserError, match="pip install") as error:
        images.choose_decoder("opencv")
    assert "data.decoder=opencv" in str(error.value)


def test_opencv_keeps_to_one_thread():
    assert decoders.opencv.library().getNumThreads() == 1


# --- crops


@each_decoder
def test_a_training_crop_has_the_promised_form_and_survives_pickling(decoder):
    transform = pickle.loads(pickle.dumps(crop(decoder)))
    sample = transform(record(jpeg(), np.int64(7)), random())
    assert sample["image"].shape == (64, 64, 3)
    assert sample["image"].dtype == np.uint8
    assert sample["label"].shape == ()
    assert sample["label"].dtype == np.int32
    assert sample["label"] == 7


@each_decoder
def test_the_generator_alone_fixes_the_crop(decoder):
    first, again = (crop(decoder)(record(jpeg()), random())["image"] for _ in range(2))
    other = crop(decoder)(record(jpeg()), np.random.default_rng(1))["image"]
    np.testing.assert_array_equal(first, again)
    assert difference(first, other) > 1


@pytest.mark.parametrize("size", [40, 96, 224])
def test_both_decoders_cut_the_same_part_in_the_same_colours(size):
    for seed in range(8):
        first, second = (
            crop(name, size)(record(jpeg()), np.random.default_rng(seed))["image"] for name in DECODERS
        )
        # They interpolate differently. A part moved by a tenth of its width would differ by 20 and more.
        assert difference(first, second) < 8, seed


@each_decoder
@pytest.mark.parametrize("size", [(60, 90), (120, 180), (213, 320)])
def test_reduced_decoding_shows_the_same_part(decoder, size):
    box = Box(0, 0, 426, 640)
    reduced = decoders.cut(jpeg(), lambda h, w: box, size, mirrored=False, decoder=decoder)
    area = photo().resize(size[::-1], Image.Resampling.BOX, box=(0, 0, 640, 426))
    assert difference(reduced, np.asarray(area)) < 8


def test_a_large_jpeg_is_decoded_at_part_of_its_size(monkeypatch):
    cv2, flags = decoders.opencv.library(), []
    read = decoders.opencv._read
    monkeypatch.setattr(decoders.opencv, "_read", lambda data, flag: flags.append(flag) or read(data, flag))
    for size in (427, 213, 106, 53):
        choose = functools.partial(decoders.Box, 0, 0)
        decoders.cut(jpeg(), choose, (size, size), mirrored=False, decoder="opencv")
    assert flags == [
        cv2.IMREAD_COLOR,
        cv2.IMREAD_REDUCED_COLOR_2,
        cv2.IMREAD_REDUCED_COLOR_4,
        cv2.IMREAD_REDUCED_COLOR_8,
    ]


@each_decoder
def test_about_every_second_image_is_mirrored_and_none_without_flip(decoder):
    left_to_right = np.tile(np.arange(100, dtype=np.uint8)[:, None] * 2, (80, 1, 3))
    rng = random()

    def mirrored(flip):
        samples = [crop(decoder, 16, flip)(record(left_to_right), rng)["image"] for _ in range(200)]
        return sum(int(sample[0, 0, 0]) > int(sample[0, -1, 0]) for sample in samples)

    assert 70 < mirrored(flip=True) < 130
    assert mirrored(flip=False) == 0


def test_crops_keep_area_and_ratio_in_bounds_and_reach_every_edge():
    height, width, rng = 375, 500, random()
    boxes = [images.random_box(height, width, rng) for _ in range(4000)]
    areas = np.array([box.height * box.width for box in boxes]) / (height * width)
    ratios = np.array([box.width / box.height for box in boxes])
    assert areas.min() > 0.078
    assert areas.max() <= 1
    assert 0.74 < ratios.min() < 0.76
    assert 1.32 < ratios.max() < 1.35
    # A part of ratio r fits if it has at most m = 3/4 r of this image's area. With r uniform in its logarithm
    # and areas uniform over 0.08 to 1, those that fit have E[(m^2 - 0.08^2) / 2] / E[m - 0.08] = 0.4318.
    assert areas.mean() == pytest.approx(0.4318, abs=0.015)
    assert min(box.top for box in boxes) == min(box.left for box in boxes) == 0
    assert max(box.top + box.height for box in boxes) == height
    assert max(box.left + box.width for box in boxes) == width


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 1000), (1000, 1), (2, 3), (17, 47)])
def test_every_random_part_lies_within_even_the_strangest_image(height, width):
    rng = random()
    for _ in range(100):
        box = images.random_box(height, width, rng)
        assert 0 < box.height <= height - box.top
        assert 0 < box.width <= width - box.left
        assert min(box.top, box.left) >= 0


@each_decoder
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (17, 47), (4000, 3)])
def test_images_smaller_than_the_crop_are_enlarged(decoder, size):
    stored = encoded(photo().resize(size))
    evaluation = images.CentreCrop("image", "label", 224, decoder)
    for transform in (crop(decoder, 224), evaluation):
        assert transform(record(stored), random())["image"].shape == (224, 224, 3)


@each_decoder
def test_evaluation_shows_the_centre(decoder):
    expected = photo().resize((299, 299), Image.Resampling.BILINEAR, box=(133, 26, 507, 400))
    for seed in range(2):
        transform = images.CentreCrop("image", "label", 299, decoder)
        sample = transform(record(jpeg()), np.random.default_rng(seed))
        assert difference(sample["image"], np.asarray(expected)) < 6


# --- images as they are


@each_decoder
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_whole_image_comes_back_as_stored(decoder, mode, channels):
    image = photo().convert(mode).resize((20, 10))
    transform = images.Whole("image", "label", (10, 20, channels), False, decoder)
    stored = transform(record(encoded(image, "PNG")), random())["image"]
    np.testing.assert_array_equal(stored, np.asarray(image).reshape(10, 20, channels))
    np.testing.assert_array_equal(transform(record(stored), random())["image"], stored)


@each_decoder
def test_whole_images_can_be_mirrored(decoder):
    transform = images.Whole("image", "label", (427, 640, 3), True, decoder)
    rng, pixels = random(), np.asarray(photo())
    results = [transform(record(pixels), rng)["image"] for _ in range(40)]
    mirrored = sum(np.array_equal(result, pixels[:, ::-1]) for result in results)
    assert 8 < mirrored < 32
    assert mirrored + sum(np.array_equal(result, pixels) for result in results) == 40


@each_decoder
def test_a_whole_image_of_another_size_is_named_as_bad(decoder):
    transform = images.Whole("image", "label", (10, 20, 3), False, decoder)
    with pytest.raises(BadRecord, match="427x640x3 among others of 10x20x3"):
        transform(record(jpeg()), random())


def test_whole_images_have_one_or_three_channels():
    with pytest.raises(UserError, match="4 channels"):
        images.Whole("image", "label", (8, 8, 4), False, "pillow")


# --- formats


def forms():
    rgb, grey = photo(), photo().convert("L")
    alpha = rgb.copy()
    alpha.putalpha(grey)
    palette = rgb.quantize(64)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {
        "colour": (encoded(rgb, quality=98), rgb),
        "progressive": (encoded(rgb, progressive=True, quality=98), rgb),
        "grey JPEG": (encoded(grey, quality=98), grey),
        "CMYK JPEG": (encoded(rgb.convert("CMYK"), quality=98), rgb),
        "grey PNG": (encoded(grey, "PNG"), grey),
        "bilevel PNG": (encoded(grey.convert("1"), "PNG"), grey.convert("1")),
        "palette PNG": (encoded(palette, "PNG"), palette),
        "palette with transparency": (encoded(palette, "PNG", transparency=bytes(range(64))), palette),
        "alpha PNG": (encoded(alpha, "PNG"), rgb),
        "grey alpha PNG": (encoded(alpha.convert("LA"), "PNG"), grey),
        "16 bit grey PNG": (encoded(deep, "PNG"), grey),
        "16 bit colour PNG": (_deep_colour(rgb), rgb),
    }


def _deep_colour(image):
    cv2 = decoders.opencv.library()
    return cv2.imencode(".png", np.asarray(image)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


@each_decoder
@pytest.mark.parametrize("form", forms())
def test_every_form_comes_out_in_its_true_colours(decoder, form):
    stored, original = forms()[form]
    expected = np.asarray(original.convert("RGB"))
    # Exact, but for the losses of JPEG.
    assert difference(whole_with(decoder, stored), expected) < (2.5 if stored[:2] == b"\xff\xd8" else 1e-9)


@pytest.mark.parametrize("form", forms())
def test_decoders_differ_by_no_more_than_one_step(form):
    first, second = (whole_with(name, forms()[form][0]).astype(int) for name in DECODERS)
    assert np.abs(first - second).max() <= 1


@each_decoder
def test_ycck_comes_out_in_its_true_colours(decoder):
    # Pillow writes no YCCK, so it is told that Y, Cb, Cr and K are inks, and Adobe's marker is set to 2 for
    # YCCK. Y, Cb and Cr stand for 255 less the colour where there is no black (K is 255, inverted).
    colour = np.array([200, 100, 50])
    light = np.broadcast_to((255 - colour).astype(np.uint8), (16, 16, 3))
    ycc = np.asarray(Image.fromarray(light).convert("YCbCr"))
    inks = 255 - np.dstack([ycc, np.full((16, 16), 255, np.uint8)])
    stored = encoded(Image.fromarray(inks, "CMYK"), quality=100)
    transform = stored.index(b"Adobe") + 11
    assert stored[transform] == 0
    ycck = stored[:transform] + b"\x02" + stored[transform + 1 :]
    assert np.abs(whole_with(decoder, ycck)[8, 8] - colour).max() <= 3


@each_decoder
def test_the_exif_orientation_is_ignored(decoder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = encoded(photo(), exif=exif, quality=95)
    np.testing.assert_array_equal(whole_with(decoder, turned), whole_with(decoder, jpeg()))
    for size in (64, 224):
        sample = crop(decoder, size)(record(turned), random())
        np.testing.assert_array_equal(sample["image"], crop(decoder, size)(record(jpeg()), random())["image"])


@each_decoder
@pytest.mark.parametrize("shape", [(50, 60), (50, 60, 1), (50, 60, 3), (50, 60, 4)])
def test_pixels_that_are_stored_as_such_are_taken(decoder, shape):
    pixels = np.full(shape, 77, np.uint8)
    sample = crop(decoder)(record(pixels), random())
    assert sample["image"].shape == (64, 64, 3)
    assert (sample["image"] == 77).all()


# --- damage


def fails(decoder, stored):
    """The reasons that each transform gives."""
    transforms = [
        crop(decoder),
        images.CentreCrop("image", "label", 64, decoder),
        images.Whole("image", "label", (427, 640, 3), False, decoder),
    ]
    reasons = []
    for transform in transforms:
        with pytest.raises(BadRecord) as error:
            transform(record(stored), random())
        reasons.append(str(error.value))
    return reasons


def cuts(stored):
    header = range(0, 700, 23)
    end = [len(stored) - missing for missing in (1, 2, 3, 4, 5, 8, 11, 12, 13, 50)]
    return [*header, *range(1000, len(stored) - 50, len(stored) // 25), *end]


@each_decoder
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"kind": "PNG"}], ids=str)
def test_a_file_cut_off_anywhere_is_bad(decoder, options):
    stored = encoded(photo(), **options)
    for position in cuts(stored):
        assert all(len(reason) < 100 for reason in fails(decoder, stored[:position])), position


@each_decoder
def test_a_file_cut_off_behind_the_end_of_its_preview_is_bad(decoder):
    preview = encoded(photo().resize((64, 48)))
    stored = encoded(photo(), exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00" + preview)
    assert stored.count(b"\xff\xd9") == 2
    assert crop(decoder)(record(stored), random())
    for position in (stored.index(b"\xff\xd9") + 2, len(stored) // 2, len(stored) - 2):
        assert fails(decoder, stored[:position])


@each_decoder
def test_a_file_whose_rest_is_zeros_is_bad(decoder):
    for stored in (jpeg(), encoded(photo(), "PNG")):
        half = len(stored) // 2
        assert "cut off" in fails(decoder, stored[:half] + bytes(half))[0]


@each_decoder
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_after_the_end_do_no_harm(decoder, kind):
    stored = encoded(photo(), kind)
    for rest in (b"\x00", b"\n", b"trailing bytes" * 100, bytes(5000)):
        np.testing.assert_array_equal(whole_with(decoder, stored + rest), whole_with(decoder, stored))


@each_decoder
@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"", "no bytes"),
        (b"no image at all", "15 bytes that cannot be decoded as image"),
        (b"\xff\xd8\xff\xd9", "cannot be decoded as JPEG|cut off"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        ("text", "of type str"),
        (np.zeros((5, 5, 3), np.float32), "float32, not uint8"),
        (np.zeros((5, 5, 2), np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (None, "no 'image' in the record"),
    ],
    ids=repr,
)
def test_what_is_no_image_is_named_as_bad(decoder, stored, reason):
    with pytest.raises(BadRecord, match=reason):
        crop(decoder)(record(stored), random())


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (-1, "stands for none"),
        (-2, "out of range"),
        (2**31, "out of range"),
        (np.float32(1.5), "no integer"),
        ("cat", "no integer"),
        (np.array([1, 2]), "no integer"),
        (None, "no integer"),
    ],
    ids=repr,
)
def test_a_label_that_is_no_class_is_named_as_bad(label, reason):
    with pytest.raises(BadRecord, match=reason):
        crop("pillow")(record(jpeg(), label), random())


def test_missing_keys_are_named():
    for key in ("image", "label"):
        content = record(jpeg())
        del content[key]
        with pytest.raises(BadRecord, match=f"no '{key}' in the record"):
            crop("pillow")(content, random())


@each_decoder
@pytest.mark.parametrize("marker", [b"\xff\xe0", b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"])
def test_fill_bytes_before_a_marker_are_no_damage(decoder, marker):
    """T.81, section B.1.1.2: any marker may be preceded by any number of bytes 0xFF."""
    filled = jpeg().replace(marker, b"\xff\xff" + marker, 1)
    assert len(filled) == len(jpeg()) + 2
    assert difference(whole_with(decoder, filled), whole_with(decoder, jpeg())) == 0

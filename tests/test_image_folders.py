"""Folders of images as data: how they are read, what is said of it, and what is refused."""

import builtins

import numpy as np
import pytest
from PIL import Image

from senn.datasets import DataError, load, read_images
from senn.datasets.image_folder import checked_size
from test_datasets import assert_one_sentence

RNG = np.random.default_rng(0)
MODES = ("L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I;16")


def picture(size=(6, 4), mode="RGB", fill=None):
    """An image of (width, height)."""
    shape = (size[1], size[0], 3)
    bytes_ = RNG.integers(0, 256, shape) if fill is None else np.full(shape, fill)
    image = Image.fromarray(bytes_.astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture()).save(path, **options)
    return path


def two_classes(folder, image=picture, each=4):
    for name in ("cat", "dog"):
        for n in range(each):
            save(folder / name / f"{n}.png", image())
    return folder


def test_images_of_one_size_keep_it_and_their_pixels(tmp_path):
    data = load(two_classes(tmp_path / "pets"))
    assert (data.name, data.task, data.target_name) == ("pets", "classification", "class")
    assert (data.image_shape, data.images) == ((4, 6, 3), True)
    assert data.classes is not None
    assert data.classes.tolist() == ["cat", "dog"]
    assert (len(data.x), len(data.x_test)) == (6, 2)
    assert data.notes[-1] == "Read 8 images of 4 × 6 pixels, in colour."
    first = np.asarray(Image.open(tmp_path / "pets" / "cat" / "0.png"))
    found = np.rint(np.concatenate([data.x, data.x_test]) * 255).reshape(-1, 4, 6, 3)
    assert (found == first).all(axis=(1, 2, 3)).sum() == 1


def test_all_are_stretched_to_one_size_unless_they_have_one(tmp_path):
    two_classes(tmp_path)
    save(tmp_path / "dog" / "wide.jpg", picture((100, 30), fill=7))
    data = load(tmp_path)
    assert data.image_shape == (64, 64, 3)
    assert "Read 9 images of 4 × 6 to 30 × 100 pixels, stretched to 64 × 64, in" in data.notes[-1]
    assert load(tmp_path, image_size=5).image_shape == (5, 5, 3)
    data = load(tmp_path, image_size=(3, 8))
    assert data.image_shape == (3, 8, 3)
    plain = np.isclose(data.x * 255, 7, atol=1).all(axis=1)
    assert plain.sum() + np.isclose(data.x_test * 255, 7, atol=1).all(axis=1).sum() == 1


def test_one_large_size_is_stretched(tmp_path):
    data = load(two_classes(tmp_path, lambda: picture((65, 4))))
    assert data.image_shape == (64, 64, 3)


def test_grey_images_stay_grey_and_colour_is_for_all(tmp_path):
    two_classes(tmp_path, lambda: picture(mode="L"))
    assert load(tmp_path).image_shape == (4, 6)
    assert load(tmp_path).notes[-1].endswith("pixels, grey.")
    save(tmp_path / "dog" / "colour.png", picture(mode="P"))
    assert load(tmp_path).image_shape == (4, 6, 3)


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_pixel_is_read(mode, tmp_path):
    suffix = "jpg" if mode == "CMYK" else "png"
    file = save(tmp_path / f"x.{suffix}", picture(mode=mode, fill=255))
    found, files = read_images(tmp_path, (4, 6, 3))
    assert files == [file]
    assert found.shape == (1, 4, 6, 3)
    assert found.min() > 250
    assert read_images(tmp_path, (4, 6))[0].min() > 250
    assert read_images(tmp_path, (4, 6, 1))[0].shape == (1, 4, 6, 1)


def test_what_is_transparent_becomes_white_and_that_is_said(tmp_path):
    clear = picture(fill=0)
    clear.putalpha(0)
    two_classes(tmp_path, lambda: clear)
    data = load(tmp_path)
    assert data.x.min() == 1
    assert "what is transparent, in 8 of them, became white" in data.notes[-1]


def test_cameras_that_were_turned_are_heeded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image = picture((6, 4), fill=0)
    image.paste((255, 255, 255), (0, 0, 3, 4))  # the left, which is the top
    for name in ("a", "b"):
        for n in range(3):
            save(tmp_path / name / f"{n}.png", image, exif=exif)
    data = load(tmp_path)
    assert data.image_shape == (6, 4, 3)
    assert (data.x.reshape(-1, 6, 4, 3)[:, :3] == 1).all()
    assert (data.x.reshape(-1, 6, 4, 3)[:, 3:] == 0).all()


def test_nested_hidden_and_other_files(tmp_path):
    two_classes(tmp_path)
    save(tmp_path / "cat" / "more" / "deep.PNG")
    save(tmp_path / "cat" / ".hidden" / "x.png")
    for name in (".DS_Store", "dog/Thumbs.db", "dog/._0.png", "labels.csv", "dog/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    data = load(tmp_path)
    assert len(data.x) + len(data.x_test) == 9
    assert data.notes[-1].endswith("no image: 'labels.csv' and 'notes.txt'.")


@pytest.mark.parametrize(
    ("parts", "train", "test"),
    [(("train",), 6, 2), (("train", "Test"), 8, 8), (("train", "val"), 8, 8),
     (("training", "validation", "test"), 16, 8)],
)  # fmt: skip
def test_a_folder_may_be_divided_into_parts(parts, train, test, tmp_path):
    for part in parts:
        two_classes(tmp_path / part)
    data = load(tmp_path)
    assert (len(data.x), len(data.x_test)) == (train, test)
    assert ("trained on as well" in data.notes[-1]) == (len(parts) == 3)
    if len(parts) > 1:
        files = read_images(tmp_path, data.image_shape)[1]
        assert {file.parts[-3].lower() for file in files} <= {"test", "val"}


def test_classes_that_are_called_like_parts(tmp_path):
    for name in ("train", "bus"):
        save(tmp_path / name / "0.png")
        save(tmp_path / name / "1.png")
        save(tmp_path / name / "2.png")
    data = load(tmp_path)
    assert data.classes is not None
    assert data.classes.tolist() == ["bus", "train"]


def flat(folder):
    save(folder / "a.png")


def beside(folder):
    save(two_classes(folder) / "a.png")


def broken(folder):
    file = two_classes(folder) / "dog" / "b.jpg"
    save(file, picture((64, 64)))
    file.write_bytes(file.read_bytes()[:-200])


def no_image(folder):
    (two_classes(folder) / "dog" / "c.gif").write_bytes(b"no image")


def program(folder):
    (two_classes(folder) / "dog" / "c.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9)


def numbers(folder):
    Image.fromarray(np.ones((4, 6), np.float32)).save(two_classes(folder) / "dog" / "f.tif")


def large(folder):
    Image.new("1", (9000, 9000)).save(two_classes(folder) / "dog" / "l.png", compress_level=1)


def unseen(folder):
    two_classes(folder / "train")
    save(folder / "test" / "bird" / "a.png")


REFUSED = {
    "empty": (lambda folder: folder.mkdir(), "is a folder that holds no images, where data are"),
    "files alone": (flat, "is a folder that holds 1 image of no class"),
    "files beside": (beside, "images beside the folders of its classes, 'a.png': move them"),
    "no images": (lambda folder: (folder / "cat").mkdir(parents=True), "holds no images"),
    "an empty class": (lambda folder: (two_classes(folder) / "bird").mkdir(), "images in 'bird'"),
    "one class": (lambda folder: save(folder / "cat" / "a.png"), "has one class, 'cat'"),
    "few": (lambda folder: two_classes(folder, each=1), "Found 2 rows"),
    "broken": (broken, "b.jpg' cannot be read .image file is truncated.*: mend it, or take"),
    "no image": (no_image, "c.gif' cannot be read .it is no image, or of an unknown kind"),
    "a program": (program, "c.png' cannot be read .it is no image"),
    "numbers": (numbers, "f.tif' cannot be read .its pixels are floating-point numbers"),
    "large": (large, "l.png' cannot be read .it has more than 33,554,432 pixels"),
    "an unseen class": (unseen, "the test rows hold classes that 'class' never has, 'bird'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_in_one_sentence(case, tmp_path):
    make, message = REFUSED[case]
    make(tmp_path / "x")
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "x")
    assert_one_sentence(str(caught.value))


def test_options_that_do_not_go_with_folders(tmp_path):
    two_classes(tmp_path)
    for given, message in (
        ({"target": "x"}, "leave target='x' out"),
        ({"task": "regression"}, "leave another task out"),
        ({"image_size": 0}, "image_size=0 is neither"),
        ({"image_size": (4, -5)}, "is neither"),
    ):
        with pytest.raises(DataError, match=message):
            load(tmp_path, **given)
    with pytest.raises(DataError, match="is for a folder of images, and 'digits' is none"):
        load("digits", image_size=8)
    with pytest.raises(DataError, match="grey or of 3 colours"):
        read_images(tmp_path, (4, 6, 2))


@pytest.mark.parametrize("shape", [(0, 8), (8, -8), (8,), (8, 8, 2)])
def test_images_to_predict_have_a_shape_and_a_folder(shape, tmp_path):
    with pytest.raises(DataError, match=r"grey or of 3 colours, and image_shape=.* is neither"):
        read_images(tmp_path, shape)
    with pytest.raises(DataError, match=r"There is no folder '.*nowhere': check the path"):
        read_images(tmp_path / "nowhere", (8, 8))


@pytest.mark.parametrize("size", [48.0, True, object(), "48", (4, True)])
def test_sizes_that_are_none(size):
    with pytest.raises(DataError, match="is neither a number of pixels nor"):
        checked_size(size)


def test_pillow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    two_classes(tmp_path)
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'senn\[images\]'"):
        load(tmp_path)

"""Folders of images: which files there are, and of what class each is."""

import os
from pathlib import Path
from typing import NamedTuple

from senn.datasets.image_files import SUFFIXES
from senn.readers import DataError
from senn.words import counted, quoted

TRAIN, TEST = ("train", "training"), ("test", "testing")
MORE = ("val", "valid", "validation")  # to test with if there is no other, else to train with
WANTED = "give a file, or images in a folder for each class, FOLDER/cat/1.png, FOLDER/dog/2.png"


class Images(NamedTuple):
    """Files of images, the class of each, and the files beside them that are none."""

    files: list[Path]
    labels: list[str]
    others: list[Path]

    def __add__(self, more: "Images") -> "Images":  # pyright: ignore[reportIncompatibleMethodOverride]
        """These, and others after them."""
        return Images(self.files + more.files, self.labels + more.labels, self.others + more.others)


NO_IMAGES = Images([], [], [])


def images_by_class(folder: Path) -> dict[str, Images]:
    """The images of every part: "train", and "test" and "val" if the folder is so divided.

    A `DataError` says what is wanted where classes or images are missing.
    """
    parts = _parts(folder) or {"train": folder}
    _check_classes(parts["train"])
    return {part: _by_class(place) for part, place in parts.items()}


def images_to_predict(folder: Path) -> tuple[list[Path], list[str] | None]:
    """The images of a folder, and their classes if it has a folder for each; of parts the test."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {str(folder)!r}: check the path, or {WANTED}.")
    parts = _parts(folder)
    folder = parts.get("test", parts.get("val", folder))
    if any(_is_image(file) for file in _visible(folder) if file.is_file()):
        return _below(folder, images=True), None
    found = _by_class(folder)
    return found.files, found.labels


def _parts(folder: Path) -> dict[str, Path]:
    """The folders of a division into parts, if there is nothing else and one to train with."""
    known = {name: names[0] for names in (TRAIN, TEST, MORE) for name in names}
    places = [place for place in _visible(folder) if place.is_dir()]
    parts = {known.get(place.name.lower(), ""): place for place in places}
    divided = "train" in parts and "" not in parts and len(parts) == len(places)
    return parts if divided else {}


def _by_class(folder: Path) -> Images:
    """All images below the folders of the classes; a `DataError` for any other layout."""
    inside = _visible(folder)
    loose = [file for file in inside if file.is_file() and _is_image(file)]
    places = [place for place in inside if place.is_dir()]
    if not places:
        holds = f"holds {counted(len(loose), 'image')} of no class" if loose else "holds no images"
        raise DataError(
            f"{str(folder)!r} is a folder that {holds}, where data are wanted: {WANTED}."
        )
    if loose:
        raise DataError(
            f"{str(folder)!r} holds images beside the folders of its classes, "
            f"{quoted(file.name for file in loose)}: move them into these, or take them away."
        )
    files = [(file, place.name) for place in places for file in _below(place)]
    images = [(file, name) for file, name in files if _is_image(file)]
    if not images:
        raise DataError(
            f"{str(folder)!r} is a folder that holds no images, where data are wanted: {WANTED}."
        )
    beside = [file for file in inside if file.is_file()]
    others = [file for file in (*beside, *(file for file, _ in files)) if not _is_image(file)]
    return Images([file for file, _ in images], [name for _, name in images], others)


def _check_classes(folder: Path) -> None:
    """Refuse classes without images, and a single one."""
    labels = set(_by_class(folder).labels)
    empty = [p.name for p in _visible(folder) if p.is_dir() and p.name not in labels]
    if empty:
        raise DataError(
            f"{str(folder)!r} has no images in {quoted(empty)}: put some there (files ending in "
            f"{', '.join(SUFFIXES)}), or take the folder away."
        )
    if len(labels) < 2:
        raise DataError(
            f"{str(folder)!r} has one class, {quoted(labels)}: a folder for each of at least two "
            "is wanted."
        )


def _below(folder: Path, *, images: bool = False) -> list[Path]:
    """All files below a folder, or the images alone, in the order of their names."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        found += [Path(place, name) for name in sorted(files) if not _is_hidden(name)]
    return [file for file in found if _is_image(file)] if images else found


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES

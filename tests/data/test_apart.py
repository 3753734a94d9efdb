"""Output is kept away from the images: a gallery among them would be a class of its own next time."""

from pathlib import Path

import pytest
from PIL import Image

from robaudit.data.apart import require_outside_images
from robaudit.errors import OutputError


def images(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        Image.new("L", (8, 8)).save(root / folder / "0.png")
    return root


@pytest.mark.parametrize("out", [".", "out", "out/deeper", "sick/out"])
def test_output_among_undivided_images_is_refused(tmp_path: Path, out: str) -> None:
    data = images(tmp_path / "data", "sick", "well")
    with pytest.raises(OutputError, match="its pictures would count as images"):
        require_outside_images(data / out, data)


@pytest.mark.parametrize(("out", "is_refused"), [("train/out", True), ("Testing/sick", True), ("out", False)])
def test_of_divided_images_the_parts_alone_are_looked_into(tmp_path: Path, out: str, is_refused: bool) -> None:
    data = images(tmp_path / "data", "train/sick", "train/well", "Testing/sick", "Testing/well")
    if is_refused:
        with pytest.raises(OutputError):
            require_outside_images(data / out, data)
    else:
        require_outside_images(data / out, data)


def test_beside_the_images_hidden_or_of_a_manifest_is_no_matter(tmp_path: Path) -> None:
    data = images(tmp_path / "data", "sick", "well")
    (tmp_path / "data" / "split.csv").touch()
    for out, source in ((tmp_path / "out", data), (data / ".out", data), (data / "out", data / "split.csv")):
        require_outside_images(out, source)


def test_a_link_does_not_hide_where_output_lies(tmp_path: Path) -> None:
    data = images(tmp_path / "data", "sick", "well")
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    with pytest.raises(OutputError):
        require_outside_images(tmp_path / "link" / "out", data)

"""Augmentation: each kind does what it says, and only that."""

import pytest
import torch

from robaudit.retrofit.augment import AUGMENTATIONS, MAX_GAIN, augmented
from robaudit.retrofit.draws import Draws


def pictures(n=64, side=20):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0))


def draw(kinds, pixels=None, seed=0):
    pixels = pictures() if pixels is None else pixels
    return augmented(pixels, kinds, Draws(torch.Generator().manual_seed(seed)))


def test_nothing_asked_for_changes_nothing():
    assert torch.equal(draw(()), pictures())


@pytest.mark.parametrize(("kind", "axis"), [("flip", 3), ("flip-vertical", 2)])
def test_a_flip_turns_about_half_of_the_images_and_leaves_the_others(kind, axis):
    x = pictures()
    seen = draw((kind,))
    turned = torch.tensor([torch.equal(one, other) for one, other in zip(seen, x.flip(axis), strict=True)])
    kept = torch.tensor([torch.equal(one, other) for one, other in zip(seen, x, strict=True)])
    assert torch.equal(turned, ~kept)
    assert 16 < turned.sum() < 48


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_each_kind_keeps_shape_and_range_and_draws_per_image(kind):
    x = torch.zeros(8, 3, 20, 30)
    x[:, :, 5:9, 5:12] = 1
    seen = draw((kind,), x)
    assert seen.shape == x.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert len({one.sum().item() + one[:, 5].sum().item() for one in seen}) > 1 or kind.startswith("flip")


def test_a_rotation_turns_pixels_not_the_unit_square():
    """A disc in a wide image stays where it is and round."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((rows - 19.5) ** 2 + (columns - 39.5) ** 2).sqrt() < 12).float().expand(4, 1, 40, 80)
    assert (draw(("rotate",), disc) - disc).abs().mean() < 0.01
    stretched = torch.zeros(4, 1, 40, 80)
    stretched[:, :, 18:22, 10:70] = 1
    assert (draw(("rotate",), stretched) - stretched).abs().mean() > 0.01


def test_a_shift_moves_by_a_twentieth_at_most():
    x = torch.zeros(32, 1, 40, 40)
    x[:, :, 20, 20] = 1
    rows, columns = (draw(("shift",), x).sum(axis).argmax(2) for axis in (3, 2))
    assert (rows - 20).abs().max() <= 2
    assert (columns - 20).abs().max() <= 2
    assert len(set(rows.flatten().tolist())) > 1


def test_intensity_changes_contrast_and_brightness_within_bounds():
    x = torch.full((32, 1, 4, 4), 0.5)
    seen = draw(("intensity",), x)
    assert (seen - 0.5).abs().max() <= MAX_GAIN
    assert seen.std() > 0


def test_asking_for_one_more_kind_does_not_change_the_draws_of_another():
    torch.testing.assert_close(draw(("flip", "intensity")), draw(("intensity",), draw(("flip",))))

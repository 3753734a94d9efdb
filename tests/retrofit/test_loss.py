"""The assimilation loss against its definition written as loops."""

import pytest
import torch
from torch.nn import functional as F

from robaudit.front.front import Front
from robaudit.retrofit.loss import (
    TextureTerm,
    assimilation_loss,
    grayscale,
    texture_distance,
    weighted_cross_entropy,
)
from robaudit.texture.sot import loss_features


def matrices() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 6, 40, generator=generator), torch.rand(3, 6, 40, generator=generator)


def test_the_distance_is_the_largest_row_sum_with_patches_as_rows():
    matrix, target = matrices()
    distance = texture_distance(matrix, target, "patches")
    for image in range(3):
        sums = [
            sum(abs(float(matrix[image, patch, column] - target[image, patch, column])) for column in range(40))
            for patch in range(6)
        ]
        assert distance.per_image[image].item() == pytest.approx(max(sums), rel=1e-5)
        assert distance.patch[image] == sums.index(max(sums))
        assert distance.column[image] == (matrix - target)[image, distance.patch[image]].abs().argmax()
    assert distance.mean.item() == pytest.approx(distance.per_image.mean().item())


def test_the_distance_with_features_as_rows_sums_over_patches():
    matrix, target = matrices()
    distance = texture_distance(matrix, target, "features")
    for image in range(3):
        sums = (matrix - target)[image].abs().sum(0)
        assert distance.per_image[image].item() == pytest.approx(sums.max().item(), rel=1e-5)
        assert distance.column[image] == sums.argmax()
        assert distance.patch[image] == (matrix - target)[image, :, distance.column[image]].abs().argmax()


def test_the_loss_is_the_weighted_sum_of_its_parts():
    matrix, target = matrices()
    parts = assimilation_loss(torch.tensor(2.0), 0.25, lambda: texture_distance(matrix, target, "patches"))
    assert parts.texture.item() > 0
    assert parts.total.item() == pytest.approx(0.25 * 2.0 + 0.75 * parts.texture.item())


def test_the_divergence_of_trades_belongs_to_the_diagnosis():
    matrix, target = matrices()
    distance = texture_distance(matrix, target, "patches")
    parts = assimilation_loss(torch.tensor(2.0), 0.25, lambda: distance, torch.tensor(3.0))
    assert parts.divergence == 3
    assert parts.total.item() == pytest.approx(0.25 * (2.0 + 3.0) + 0.75 * distance.mean.item())


def test_class_weights_weigh_images_and_batches_add_up():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 1])
    weights = torch.tensor([2.0, 2 / 3])
    losses = F.cross_entropy(logits, labels, reduction="none")
    whole = weighted_cross_entropy(logits, labels, weights)
    torch.testing.assert_close(whole, (2 * losses[0] + 2 / 3 * losses[1:].sum()) / 4)
    halves = [weighted_cross_entropy(logits[part], labels[part], weights) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(whole, sum(halves) / 2)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, None), F.cross_entropy(logits, labels))


def test_alpha_one_never_looks_at_texture():
    def fail():
        raise AssertionError("texture was computed")

    parts = assimilation_loss(torch.tensor(2.0), 1.0, fail)
    assert torch.equal(parts.total, parts.cross_entropy)
    assert parts.texture == 0
    assert parts.where is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_front_that_changes_nothing_is_at_distance_zero(channels):
    term = TextureTerm()
    image = torch.rand(2, channels, 40, 40)
    front = Front(channels, 3)
    matrix = term.features(front(image))
    assert texture_distance(matrix, term.features(image), "patches").per_image.tolist() == [0, 0]


def test_grayscale_is_bt601_luma_and_leaves_grey_untouched_to_the_bit():
    image = torch.rand(2, 3, 5, 5)
    expected = image[:, :1] * 0.299 + image[:, 1:2] * 0.587 + image[:, 2:] * 0.114
    torch.testing.assert_close(grayscale(image), expected)
    grey = torch.rand(2, 1, 5, 5)
    assert torch.equal(grayscale(grey), grey)
    assert torch.equal(grayscale(grey.expand(-1, 3, -1, -1)), grey)


def test_the_picture_compared_is_what_the_backbone_sees_or_the_sources_letter():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 20, 20)
    front = Front(1, 3)
    with torch.no_grad():
        for weight in front.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    seen = front(image)
    assert torch.equal(TextureTerm().picture(front, image, seen), seen)
    assert torch.equal(TextureTerm(glcm_on="color").picture(front, image, seen), front.colour(image))


def test_a_front_without_colour_is_compared_after_t_either_way():
    image = torch.rand(1, 1, 20, 20)
    front = Front(1, 1)
    for glcm_on in ("front", "color"):
        seen = front(image)
        assert TextureTerm(glcm_on=glcm_on).picture(front, image, seen) is seen


def test_raw_features_are_an_option():
    image = torch.rand(1, 1, 20, 20)
    assert torch.equal(TextureTerm(scaled=False).features(image), loss_features(image, scaled=False))
    assert not torch.equal(TextureTerm().features(image), TextureTerm(scaled=False).features(image))

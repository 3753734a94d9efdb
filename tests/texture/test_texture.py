"""The texture features against scikit-image, loops, and finite differences."""

import numpy as np
import pytest
import torch
from skimage.feature import graycomatrix, graycoprops
from torch.autograd import gradcheck
from torch.nn.functional import one_hot

from robaudit.texture.cooccurrence import second_moment_and_slope
from robaudit.texture.features import contrast, dissimilarity, homogeneity
from robaudit.texture.fused import loss_features_of
from robaudit.texture.orientations import COMPUTED, ORIENTATIONS, offset
from robaudit.texture.patches import cut, grid, pairs
from robaudit.texture.sot import COLUMNS, FEATURES, loss_features, second_order_texture


def integer_levels(levels: int, height: int = 45, width: int = 62, batch: int = 2) -> np.ndarray:
    """Images whose grey levels are integers, smooth enough for their features to differ, one patch constant."""
    generator = np.random.default_rng(levels)
    steps = generator.integers(-1, 2, (batch, height, width)).cumsum(2)
    images = (steps - steps.min()) % levels
    images[0, :20, :20] = levels - 1
    return images.astype(np.uint8)


def as_grey(images: np.ndarray, levels: int) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float64) / (levels - 1)).unsqueeze(1)


def cooccurrence(patches: torch.Tensor, step: tuple[int, int], levels: int) -> torch.Tensor:
    """Soft co-occurrence matrix (M, L, L), every bin written out; autograd goes through the weights."""
    low = patches.detach().floor().clamp(0, levels - 2).long()
    fraction = (patches - low).unsqueeze(3)
    weights = one_hot(low, levels) * (1 - fraction) + one_hot(low + 1, levels) * fraction
    first, second = pairs(weights, step)
    return torch.einsum("rcmi,rcmj->mij", first, second) / (first.shape[0] * first.shape[1])


def angular_second_moment(patches: torch.Tensor, step: tuple[int, int], levels: int) -> torch.Tensor:
    return second_moment_and_slope(patches, step, levels, slope_wanted=False)[0]


def regularised_correlation(first: torch.Tensor, second: torch.Tensor, levels: int) -> torch.Tensor:
    first, second = (side - side.mean((0, 1)) for side in (first, second))
    k = (4 / 255 * (levels - 1)) ** 2
    variances = first.square().mean((0, 1)) * second.square().mean((0, 1))
    return ((first * second).mean((0, 1)) + k) / (variances + k * k).sqrt()


def by_scikit_image(image: np.ndarray, levels: int) -> np.ndarray:
    """The SOT matrix of one image, with all eight orientations computed."""
    rows = []
    for top in range(0, image.shape[0] - 19, 20):
        for left in range(0, image.shape[1] - 19, 20):
            tile = image[top : top + 20, left : left + 20]
            matrix = graycomatrix(tile, [3], np.radians(ORIENTATIONS), levels=levels, normed=True)
            i, j = np.indices((levels, levels))
            homogeneity = np.einsum("ij,ijda->da", 1 / (1 + np.abs(i - j)), matrix)
            by_name = {"homogeneity": homogeneity} | {
                name.lower(): graycoprops(matrix, name) for name in ("ASM", "contrast", "correlation", "dissimilarity")
            }
            rows.append([by_name[name][0, angle] for angle in range(len(ORIENTATIONS)) for name in FEATURES])
    return np.array(rows)


@pytest.mark.parametrize("levels", [2, 8, 32, 256])
def test_every_feature_of_every_patch_equals_scikit_image_on_integer_levels(levels):
    images = integer_levels(levels)
    ours = second_order_texture(as_grey(images, levels), levels=levels).numpy()
    for image, matrix in zip(images, ours, strict=True):
        np.testing.assert_allclose(matrix, by_scikit_image(image, levels), rtol=0, atol=1e-10)


def test_opposite_orientations_have_the_same_features_in_scikit_image_too():
    matrix = by_scikit_image(integer_levels(32)[1], 32).reshape(-1, 2, len(ORIENTATIONS) // 2, len(FEATURES))
    np.testing.assert_allclose(matrix[:, 0], matrix[:, 1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("degrees", COMPUTED)
def test_the_matrix_equals_scikit_image_and_is_not_symmetrised(degrees):
    image = integer_levels(8)[1, :20, :20]
    expected = graycomatrix(image, [3], [np.radians(degrees)], levels=8, normed=True)[:, :, 0, 0]
    ours = cooccurrence(torch.from_numpy(image.astype(np.float64)).unsqueeze(2), offset(degrees), 8)
    np.testing.assert_allclose(ours[0].numpy(), expected, rtol=0, atol=1e-12)
    assert not torch.allclose(ours, ours.mT)


def test_a_pixel_between_two_levels_is_shared_linearly():
    """Pairs (0.25, 2.5) and (2.5, 0.25), worked by hand."""
    patch = torch.tensor([[0.25, 2.5]], dtype=torch.float64).unsqueeze(2)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[0, 2] = expected[0, 3] = 0.75 * 0.5
    expected[1, 2] = expected[1, 3] = 0.25 * 0.5
    torch.testing.assert_close(cooccurrence(patch, (0, 1), 4)[0], expected)
    torch.testing.assert_close(cooccurrence(patch, (0, -1), 4)[0], expected.T)
    torch.testing.assert_close(angular_second_moment(patch, (0, 1), 4), expected.square().sum().reshape(1))


def test_the_second_moment_of_a_patch_of_one_grey_is_1_at_a_level_and_a_quarter_between_two():
    """So it moves with brightness alone, and nothing else does."""
    moments = [second_order_texture(torch.full((1, 1, 20, 20), level / 31))[0, 0] for level in (3, 3.5)]
    assert [moment[0].item() for moment in moments] == pytest.approx([1, 0.25])
    torch.testing.assert_close(moments[0][1:5], moments[1][1:5])


def test_the_second_moment_is_the_sum_of_squares_of_the_matrix_whatever_the_number_of_patches():
    """More patches than fit one table are worked in parts."""
    patches = torch.rand(6, 6, 40, dtype=torch.float64) * 255
    matrix = cooccurrence(patches, (2, -2), 256)
    torch.testing.assert_close(angular_second_moment(patches, (2, -2), 256), matrix.square().sum((1, 2)))


def test_offsets_are_rounded_as_scikit_image_rounds_them():
    assert [offset(degrees) for degrees in ORIENTATIONS] == [
        (0, 3), (2, 2), (3, 0), (2, -2), (0, -3), (-2, -2), (-3, 0), (-2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("step", [offset(degrees) for degrees in ORIENTATIONS])
def test_pairs_are_all_pixels_that_lie_the_offset_apart(step):
    patch = torch.arange(30).reshape(5, 6, 1)
    expected = {
        (6 * row + column, 6 * (row + step[0]) + column + step[1])
        for row in range(5)
        for column in range(6)
        if 0 <= row + step[0] < 5 and 0 <= column + step[1] < 6
    }
    first, second = pairs(patch, step)
    assert set(zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)) == expected


def test_patches_go_row_by_row_and_leave_the_remainder_out():
    image = torch.arange(45 * 62).reshape(1, 1, 45, 62)
    patches = cut(image)
    assert grid(45, 62) == (2, 3)
    assert patches.shape == (1, 6, 20, 20)
    assert torch.equal(patches[0, 4], image[0, 0, 20:40, 20:40])


def test_gradient_away_from_integer_levels():
    torch.manual_seed(0)
    low = torch.randint(0, 7, (1, 1, 12, 12))
    grey = ((low + 0.2 + 0.6 * torch.rand(low.shape)) / 7).double().requires_grad_()
    assert gradcheck(lambda grey: loss_features(grey, levels=8, patch=6), grey)


@pytest.mark.parametrize("degrees", COMPUTED)
def test_the_fused_features_and_their_gradient_are_those_of_the_single_functions(degrees):
    torch.manual_seed(0)
    step = offset(degrees)
    patches = (torch.rand(8, 8, 5, dtype=torch.float64) * 31).requires_grad_()
    with torch.no_grad():
        patches[:, :, 0] = 7.0
    first, second = pairs(patches, step)
    one_by_one = torch.stack(
        [
            cooccurrence(patches, step, 32).square().sum((1, 2)),
            contrast(first, second),
            homogeneity(first, second),
            regularised_correlation(first, second, 32),
            dissimilarity(first, second),
        ]
    )
    fused = loss_features_of(patches, step, 32)
    torch.testing.assert_close(fused, one_by_one, rtol=0, atol=1e-12)
    weights = torch.rand_like(fused)
    gradients = [torch.autograd.grad((weights * features).sum(), patches)[0] for features in (fused, one_by_one)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 16 / 31, 1.0])
@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-4])
@pytest.mark.parametrize("scaled", [True, False])
def test_gradients_of_the_loss_features_are_finite_on_constant_and_nearly_constant_patches(value, noise, scaled):
    torch.manual_seed(0)
    grey = (value + noise * torch.randn(1, 1, 40, 40)).clamp(0, 1).requires_grad_()
    features = loss_features(grey, scaled=scaled)
    features.sum().backward()
    assert features.isfinite().all()
    assert grey.grad.isfinite().all()


def test_a_constant_patch_has_correlation_one():
    matrix = second_order_texture(torch.full((1, 1, 20, 20), 0.37))
    assert dict(zip(COLUMNS, matrix[0, 0].tolist(), strict=True))["correlation@45"] == 1


def test_a_tiny_edit_of_plain_background_hardly_moves_the_regularised_correlation():
    """One level of 8 bits: the exact correlation falls from 1 to below 0.2, the regularised one by less than 0.02."""
    torch.manual_seed(0)
    edited = 0.5 + torch.randint(-1, 2, (1, 1, 20, 20)) / 255
    column = COLUMNS.index("correlation@0")
    assert second_order_texture(edited)[0, 0, column] < 0.2
    assert loss_features(edited, scaled=False)[0, 0, column] > 0.98


def test_the_regularised_correlation_is_the_formula_of_the_design():
    torch.manual_seed(0)
    patch = torch.rand(5, 5, 1, dtype=torch.float64) * 31
    first, second = pairs(patch, (0, 1))
    (var_first, cov), (_, var_second) = np.cov(first.flatten(), second.flatten(), bias=True)
    k = (4 / 255 * 31) ** 2
    expected = (cov + k) / np.sqrt(var_first * var_second + k**2)
    assert loss_features_of(patch, (0, 1), 32)[3].item() == pytest.approx(expected, abs=1e-12)


def test_scaled_features_of_extreme_images_reach_the_ends_of_their_range():
    stripes = torch.zeros(1, 1, 20, 20)
    stripes[..., [column for column in range(20) if column % 6 >= 3]] = 1.0  # 3 to the right: always the opposite
    row = dict(zip(COLUMNS, loss_features(stripes)[0, 0].tolist(), strict=True))
    assert row["contrast@0"] == pytest.approx(1)
    assert row["dissimilarity@180"] == pytest.approx(1)
    assert row["correlation@0"] == pytest.approx(0, abs=1e-2)
    assert row["contrast@90"] == 0
    assert row["homogeneity@90"] == 1


def test_features_of_an_image_do_not_depend_on_the_others_in_its_batch():
    images = torch.rand(5, 1, 40, 40)
    together = second_order_texture(images)
    for image, matrix in zip(images.split(1), together.split(1), strict=True):
        torch.testing.assert_close(second_order_texture(image), matrix, rtol=0, atol=1e-4)


def test_unusable_settings_are_refused_by_name():
    grey = torch.rand(1, 1, 24, 24)
    with pytest.raises(ValueError, match="at least 2 grey levels, got 1"):
        second_order_texture(grey, levels=1)
    with pytest.raises(ValueError, match="24x24 pixels holds no patch of 30x30"):
        second_order_texture(grey, patch=30)
    with pytest.raises(ValueError, match="no pixel pairs 3 apart"):
        second_order_texture(grey, patch=3)
    with pytest.raises(ValueError, match="one channel, got 3"):
        second_order_texture(grey.expand(-1, 3, -1, -1))

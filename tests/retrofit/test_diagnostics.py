"""Attention and sharpness against models whose answers are known."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.feature import graycomatrix, graycoprops
from torch import nn
from torch.nn import functional as F

from robaudit.data.images import open_images
from robaudit.front.front import Front
from robaudit.progress import Silent
from robaudit.retrofit import diagnostics as examination
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.attention import attention_map, share_holding
from robaudit.retrofit.diagnostics import FORWARDS, GRADIENTS, N_IMAGES, Examined
from robaudit.retrofit.loss import TextureTerm
from robaudit.retrofit.moved import texture_moved
from robaudit.retrofit.sharpness import Directions, directions, largest_curvature, loss_surface
from robaudit.retrofit.tone import tone_curve
from robaudit.retrofit_records import Diagnostics


class Linear(nn.Module):
    """Logits (+s, -s) with s = <weights, x>."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        score = (x * self.weights).flatten(1).sum(1)
        return torch.stack([score, -score], 1)


def test_the_attention_of_a_linear_model_is_the_size_of_its_weights():
    weights = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    maps = attention_map(Linear(weights), torch.rand(3, 1, 6, 5))
    torch.testing.assert_close(maps, 2 * weights[:, 0].abs().expand(3, -1, -1))


def test_the_share_counts_the_fewest_pixels_that_hold_the_mass():
    one_pixel, even, nothing = torch.zeros(10, 10), torch.ones(10, 10), torch.zeros(10, 10)
    one_pixel[3, 4] = 5
    one_pixel[0, 0] = 0.1
    shares = share_holding(torch.stack([one_pixel, even, nothing]))
    assert shares[:2].tolist() == pytest.approx([0.01, 0.9], abs=0.011)
    assert shares[2].isnan()


def test_the_adversarial_direction_raises_the_loss_and_a_random_one_less():
    weights = torch.randn(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    model, x, y = Linear(weights), 0.1 + 0.8 * torch.rand(4, 1, 20, 20), torch.tensor([0, 1, 0, 1])
    along = directions(model, x, y, seed=0)
    surface = loss_surface(model, x, y, along, torch.tensor([0, 4]))
    assert surface[1, 0] > surface[0, 0]
    assert surface[1, 0] - surface[0, 0] > 3 * abs(surface[0, 1] - surface[0, 0])
    moved = x + 4 / 255 * along.adversarial
    assert surface[1, 0].item() == pytest.approx(F.cross_entropy(model(moved), y).item(), rel=1e-5)


def test_the_surface_never_leaves_the_range_of_pixels():
    x = torch.ones(1, 1, 4, 4)
    along = Directions(torch.ones_like(x), torch.ones_like(x))
    surface = loss_surface(Linear(torch.ones(1, 1, 4, 4)), x, torch.tensor([0]), along, torch.tensor([0, 8]))
    assert surface[1, 1] == surface[0, 0]


def test_the_curvature_is_the_hessians_eigenvalue_of_largest_size():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x, y = torch.rand(3, 1, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 0])
    ours = largest_curvature(model, x, y, iterations=200)
    for image, label, value in zip(x, y, ours, strict=True):
        hessian = torch.autograd.functional.hessian(
            lambda flat, label=label: F.cross_entropy(model(flat.view(1, 1, 3, 3)), label[None]), image.flatten()
        )
        eigenvalues = torch.linalg.eigvalsh(hessian)
        assert value.item() == pytest.approx(eigenvalues[eigenvalues.abs().argmax()].item(), rel=2e-2)


def test_an_examination_costs_what_the_announced_time_counts():
    class Counted(Linear):
        n_passes = 0

        def forward(self, x):
            self.n_passes += len(x)
            return super().forward(x)

    model, pixels = Counted(torch.randn(1, 1, 6, 5)), torch.rand(5, 1, 6, 5)
    Examined(model, list("abcde"), pixels, torch.tensor([0, 1, 0, 1, 0]), "before", Silent())
    assert model.n_passes == 5 * (GRADIENTS + FORWARDS)


def test_the_surface_is_the_mean_over_images_however_many_are_looked_at_together():
    weights = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    pixels, labels = torch.rand(5, 1, 6, 5), torch.tensor([0, 1, 0, 1, 0])
    examined = Examined(Linear(weights), list("abcde"), pixels, labels, "before", Silent())
    assert examined.surface[2, 2].item() == pytest.approx(F.cross_entropy(Linear(weights)(pixels), labels).item())
    assert len(examined.maps) == len(examined.curvature) == 5


def size_of(file):
    with Image.open(file) as picture:
        return picture.size


def test_a_retrofit_leaves_them_before_and_after_with_pictures(model, data, tmp_path, heard_lines, monkeypatch):
    monkeypatch.setattr(examination, "N_IMAGES", N_IMAGES)
    out = tmp_path / "out"
    assimilate(model, data, out=out, epochs=1, batch_size=8, front_learning_rate=1e-2, progress=heard_lines)
    diagnostics = Diagnostics.model_validate_json((out / "diagnostics.json").read_text())
    assert len(diagnostics.image_ids) == 8
    assert diagnostics.before != diagnostics.after
    for side in (diagnostics.before, diagnostics.after):
        assert all(0 < share <= 1 for share in side.attention_share)
        assert len(side.surface) == len(diagnostics.steps_255) == len(side.surface[0])
    sizes = {name: size_of(out / file) for name, file in diagnostics.pictures.items()}
    assert sizes["attention-after-7"] == sizes["original-7"] == (40, 40)
    assert sizes["surface-before"] == sizes["surface-after"]
    assert diagnostics.texture is not None
    assert diagnostics.tone is not None
    assert list(diagnostics.texture.features) == ["asm", "contrast", "homogeneity", "correlation", "dissimilarity"]
    assert any("contrast of the texture" in text for text in heard_lines.lines)
    assert any(text.startswith("attention: ") for text in heard_lines.lines)
    assert json.loads((out / "training.json").read_text())["n_epochs"] == 1


def test_the_texture_that_t_and_c_move_is_measured_as_scikit_image_would(model, data, tmp_path):
    """Of the first image alone: whole grey levels are where the two agree, and T and C start as changing nothing."""
    images = open_images(data, "val").limited(2, seed=0)
    front, term = Front(1, 3).eval(), TextureTerm(levels=256)
    untouched = texture_moved(front, images, (40, 40), term)
    assert untouched.n_images == 2
    with torch.no_grad():
        by_hand = dict.fromkeys(untouched.features, 0.0)
        for ref in images.refs:
            levels = (images.load(ref, (40, 40))[0] * 255).round().to(torch.uint8).numpy()
            for row, column in ((0, 0), (0, 20), (20, 0), (20, 20)):
                patch = levels[row : row + 20, column : column + 20]
                for angle in (0, 45, 90, 135):
                    matrix = graycomatrix(patch, [3], [np.deg2rad(angle)], levels=256, symmetric=True, normed=True)
                    for name in ("contrast", "dissimilarity"):
                        by_hand[name] += graycoprops(matrix, name)[0, 0] / (2 * 4 * 4)
    for name in ("contrast", "dissimilarity"):
        feature = untouched.features[name]
        assert feature.original == pytest.approx(by_hand[name], rel=1e-4)
        assert feature.original == pytest.approx(feature.after_texture) == pytest.approx(feature.after_colour)
        assert feature.moved == pytest.approx(0, abs=1e-4)

    torch.manual_seed(0)
    front.start_at_random()
    moved = texture_moved(front, images, (40, 40), term).features["contrast"]
    assert moved.original == untouched.features["contrast"].original
    assert moved.moved >= abs(moved.after_colour - moved.original) > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_grey_goes_through_t_along_the_curve_of_its_amount(channels):
    """With the last layer's weights at zero, its bias alone is the amount: x + x (1 - x) a, in closed form."""
    front = Front(channels, 3, modules="T").eval()
    untouched = tone_curve(front, (40, 30))
    assert untouched.seen == pytest.approx(untouched.grey, abs=1e-3)
    assert (untouched.grey[0], untouched.grey[-1]) == (0, 255)
    with torch.no_grad():
        front.texture.amount.last.bias.fill_(math.atanh(-0.75))
    expected = [255 * (x - 0.75 * x * (1 - x)) for x in (grey / 255 for grey in untouched.grey)]
    assert tone_curve(front, (40, 30)).seen == pytest.approx(expected, abs=1e-3)

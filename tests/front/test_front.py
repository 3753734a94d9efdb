"""T and C: an exact no-op at the start, bounded always, light."""

import json

import pytest
import timm
import torch

from robaudit.front.curve import bend, dye, saturated_fraction
from robaudit.front.front import Front

CHANNELS = [(1, 3), (3, 3), (1, 1)]


def trained(front: Front) -> Front:
    """The front with weights far from their start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in front.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return front


@pytest.mark.parametrize(("in_channels", "out_channels"), CHANNELS)
@pytest.mark.parametrize("mode", [True, False])
def test_an_untrained_front_changes_no_bit(in_channels, out_channels, mode):
    image = torch.rand(2, in_channels, 32, 24)
    image[0, :, :2] = torch.tensor([0.0, 1.0, 1 / 255] * 8)
    front = Front(in_channels, out_channels).train(mode)
    expected = image.expand(-1, out_channels, -1, -1)
    assert torch.equal(front(image), expected)
    assert front.saturated(image) == 0


@pytest.mark.parametrize(("in_channels", "out_channels"), CHANNELS)
def test_a_trained_front_stays_in_range_and_treats_each_image_alone(in_channels, out_channels):
    images = torch.rand(3, in_channels, 32, 24)
    front = trained(Front(in_channels, out_channels))
    seen = front(images)
    assert seen.shape == (3, out_channels, 32, 24)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert not torch.equal(seen, images.expand_as(seen))
    torch.testing.assert_close(front(images[1:2]), seen[1:2])


def test_a_bent_pixel_never_leaves_the_range_whatever_the_amount():
    image = torch.cat([torch.linspace(0, 1, 100_001), 1 - torch.logspace(-8, -3, 1000), torch.logspace(-45, -1, 1000)])
    for amount in (-1.0, -0.5, 0.5, 1.0):
        bent = bend(image, torch.full_like(image, amount))
        assert bent.min() >= 0
        assert bent.max() <= 1


def test_black_and_white_cannot_move():
    """The stated limit of the form."""
    image = torch.tensor([0.0, 1.0]).repeat(1, 1, 8, 4)
    assert torch.equal(trained(Front(1, 3))(image), image.expand(-1, 3, -1, -1))


def test_with_tint_they_can_and_the_range_still_holds():
    image = torch.tensor([0.0, 1.0]).repeat(1, 1, 8, 4)
    seen = trained(Front(1, 3, tint=True))(image)
    assert (seen != image).float().mean() > 0.9
    assert seen.min() >= 0
    assert seen.max() <= 1


@pytest.mark.parametrize("amount", [-1.0, -0.4, 0.4, 1.0])
def test_half_of_what_the_image_says_comes_through_the_strongest_tint(amount):
    image = torch.linspace(0, 1, 11, requires_grad=True)
    dye(image, torch.full_like(image, amount)).sum().backward()
    assert image.grad.min() >= 0.5


def test_every_weight_of_the_last_layers_gets_a_gradient_from_the_start():
    front = Front(1, 3)
    (front(torch.rand(1, 1, 16, 16)) * torch.rand(1, 3, 16, 16)).sum().backward()
    for module in (front.texture, front.colour):
        assert module.amount.last.weight.grad.abs().min() > 0


def test_the_pictures_on_the_way_are_named():
    image = torch.rand(1, 1, 16, 16)
    front = trained(Front(1, 3))
    pictures = front.stages(image)
    assert list(pictures) == ["texture", "colour"]
    assert torch.equal(pictures["texture"], front.texture(image))
    assert torch.equal(pictures["colour"], front(image))
    assert list(Front(1, 1).stages(image)) == ["texture"]


def test_a_front_of_colour_takes_grey_as_three_equal_channels():
    image = torch.rand(2, 1, 16, 16)
    front, repeated = trained(Front(3, 3)), image.expand(-1, 3, -1, -1)
    assert torch.equal(front(image), front(repeated))
    for grey, coloured in zip(front.stages(image).values(), front.stages(repeated).values(), strict=True):
        assert torch.equal(grey, coloured)


def test_a_front_is_rebuilt_from_its_config():
    front = trained(Front(1, 3, width=4, tint=True))
    again = Front(**json.loads(json.dumps(front.config())))
    again.load_state_dict(front.state_dict())
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(again(image), front(image))
    assert (front.modules_name, Front(1, 1).modules_name) == ("T+C", "T")


def test_t_and_c_are_less_than_one_percent_of_a_resnet18():
    with torch.device("meta"):
        resnet = sum(weight.numel() for weight in timm.create_model("resnet18").parameters())
        front = sum(weight.numel() for weight in Front(3, 3).parameters())
    assert front < 0.01 * resnet


def test_saturation_counts_amounts_at_their_bound():
    assert saturated_fraction(torch.tensor([0.0, 0.98, -0.999, 1.0])) == 0.5


def test_a_front_from_colour_to_grey_is_refused():
    with pytest.raises(ValueError, match="not 3 to 1"):
        Front(3, 1)
    with pytest.raises(ValueError, match="the backbone takes one"):
        Front(1, 1, modules="C")


def test_either_module_can_stand_alone():
    image = torch.rand(1, 1, 16, 16)
    for name, role in (("T", "texture"), ("C", "colour")):
        front = trained(Front(1, 3, modules=name))
        assert (front.modules_name, list(front.stages(image))) == (name, [role])
        assert front(image).shape == (1, 3, 16, 16)
        assert torch.equal(front(image), front.stages(image)[role].expand(-1, 3, -1, -1))
        assert 0 <= front.saturated(image) <= 1


def test_a_random_start_changes_the_image():
    torch.manual_seed(0)
    front = Front(1, 3)
    front.start_at_random()
    image = torch.rand(1, 1, 16, 16)
    assert not torch.equal(front(image), image.expand(-1, 3, -1, -1))

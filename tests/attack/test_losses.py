import pytest
import torch
from torch.autograd import gradcheck

from robaudit.attack.losses import ascent_loss, cross_entropy, margin


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_margin_is_best_wrong_logit_minus_the_true_one(n_classes):
    logits = torch.randn(5, n_classes, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5) % n_classes
    expected = [
        max(value for index, value in enumerate(row) if index != label) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(margin(logits, labels), torch.tensor(expected))


def test_cross_entropy_gradient_underflows_where_the_margin_still_points():
    """At 200 logits of confidence float32 cross-entropy is flat: the reason the margin loss exists here."""
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    label = torch.tensor([0])
    (of_entropy,) = torch.autograd.grad(cross_entropy(logits, label).sum(), logits)
    (of_margin,) = torch.autograd.grad(margin(logits, label).sum(), logits)
    assert of_entropy.abs().max() == 0
    assert of_margin.tolist() == [[-1.0, 1.0]]


def test_each_image_of_a_batch_climbs_its_own_loss():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0])
    mixed = ascent_loss(logits, labels, torch.tensor([True, False, True, False]))
    torch.testing.assert_close(mixed[[0, 2]], margin(logits, labels)[[0, 2]])
    torch.testing.assert_close(mixed[[1, 3]], cross_entropy(logits, labels)[[1, 3]])


def test_the_gradient_of_mixed_losses_is_right():
    # Both losses are computed in float32, which bounds what finite differences can show.
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    mixed = torch.tensor([True, False, True, False])
    assert gradcheck(lambda z: ascent_loss(z, labels, mixed).double(), logits, eps=1e-2, atol=1e-3, rtol=1e-2)

"""What a training step sees."""

import pytest
import torch
from torch import nn

from robaudit.errors import SettingsError
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.outputs import OutputKind, Outputs, find_outputs
from robaudit.records import Normalization
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.loss import NotFiniteError
from robaudit.retrofit.objective import Objective, class_weights
from robaudit.retrofit.samples import Batch
from robaudit.retrofit.settings import train_config


def probabilities():
    """A network that answers with probabilities, understood as `load` understands it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2), nn.Softmax(1))
    outputs = find_outputs(network, torch.rand(4, 3, 8, 8))
    normalization = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3, source="test")
    return Classifier(network, normalization, in_chans=3, outputs=outputs)


def test_training_and_attack_see_the_same_logits():
    """Not the probabilities: cross-entropy of these would apply a softmax twice."""
    classifier, x = probabilities(), torch.rand(2, 1, 8, 8)
    logits = Objective(classifier, train_config(front="none")).logits(x)
    assert torch.equal(logits, classifier(x))
    assert not torch.allclose(logits.sum(1), torch.ones(2))


@pytest.mark.parametrize("robust", ["none", "trades"])
def test_the_loss_is_of_the_models_own_probability_whatever_threshold_it_decides_at(robust):
    """Else training moves the probability it decides at to 0.5, and its folder decides elsewhere than it learnt."""
    x, labels, losses = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0]), {}
    config = train_config(front="none", robust=robust)
    for threshold in (0.5, 0.2):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))
        normalization = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3, source="test")
        outputs = Outputs(OutputKind.ONE_LOGIT, threshold=threshold)
        classifier = Classifier(network, normalization, in_chans=3, outputs=outputs)
        objective, batch = Objective(classifier, config), Batch(x, labels, torch.empty(4, 0))
        steps = objective.in_training(batch, robust, Draws(torch.Generator().manual_seed(0)))
        losses[threshold] = torch.stack([steps.total, objective.in_validation(batch)[0].total])
    own = nn.functional.binary_cross_entropy_with_logits(network((x - 0.5) / 0.25)[:, 0], labels.float())
    torch.testing.assert_close(losses[0.2], losses[0.5])
    torch.testing.assert_close(losses[0.2][1], own)


@pytest.mark.parametrize("alpha", [0.9, 1.0])
@pytest.mark.parametrize("spoilt", ["texture", "colour"])
def test_t_or_c_that_are_no_numbers_any_more_are_a_loss_that_is_not_finite(spoilt, alpha):
    """Which ends training with the best epoch so far; texture cannot be counted of what is no number."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 400, 2))
    normalization = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3, source="test")
    classifier = Classifier(network, normalization, in_chans=3, front=Front(1, 3))
    torch.nn.init.constant_(getattr(classifier.front, spoilt).amount.last.weight, torch.nan)
    objective, x = Objective(classifier, train_config(alpha=alpha)), torch.rand(2, 1, 20, 20)
    batch = Batch(x, torch.tensor([0, 1]), objective.config.texture.features(x))
    with pytest.raises(NotFiniteError):
        objective.in_training(batch, "none", Draws(torch.Generator()))
    with pytest.raises(NotFiniteError):
        objective.in_validation(batch)


def test_weights_of_classes_hold_for_the_divergence_of_trades_too():
    classifier, config = probabilities(), train_config(front="none", robust="trades", robust_steps=1)
    batch = Batch(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), torch.empty(2, 0))

    def diverged(weights):
        random = Draws(torch.Generator().manual_seed(0))
        return Objective(classifier, config, torch.tensor(weights)).in_training(batch, "trades", random).divergence

    first, second = diverged([1.0, 0.0]), diverged([0.0, 1.0])
    assert first != second
    torch.testing.assert_close(diverged([1.0, 3.0]), first + 3 * second)


def test_balanced_weights_are_one_on_average_over_images():
    per_class = {"common": 30, "rare": 10}
    weights = class_weights("balanced", per_class)
    assert weights.tolist() == pytest.approx([40 / 60, 40 / 20])
    assert (weights * torch.tensor([30, 10])).sum() / 40 == pytest.approx(1)


def test_weights_can_be_given_and_must_fit_the_classes():
    assert class_weights("1,2.5", {"a": 1, "b": 1}).tolist() == [1, 2.5]
    assert class_weights("", {"a": 1, "b": 1}) is None
    for text in ("1", "1,0", "1,nan", "heavy"):
        with pytest.raises(SettingsError, match="wanted balanced, or a number above 0 for each of a, b"):
            class_weights(text, {"a": 1, "b": 1})

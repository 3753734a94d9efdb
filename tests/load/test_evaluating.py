"""Asking a model leaves it as it was."""

from torch import nn

from robaudit.load.evaluating import evaluating


def test_evaluation_for_a_while_gives_every_module_its_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False, False]

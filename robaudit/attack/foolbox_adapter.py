"""Attacks that we do not write, from foolbox; the only file that knows it.

foolbox proposes a picture; whether it fools is decided by the same rule as for every other attack.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.attack.batching import Logits, UnanswerableError, Work
from robaudit.attack.climb import Target
from robaudit.attack.seeding import derived_seed
from robaudit.attack.threats import FoolboxAttack
from robaudit.errors import SettingsError
from robaudit.progress import Progress, Silent


class FoolboxRunner:
    """Runs foolbox attacks on one image at a time, each with its own random numbers."""

    def __init__(
        self, working: Logits, device: torch.device, work: Work, image: str, progress: Progress | None = None
    ) -> None:
        self._progress = progress or Silent()
        self._model = _Counted(working, work, image, self._progress)
        self._device = device

    def perturb(self, target: Target, attack: FoolboxAttack, eps_255: int) -> Tensor:
        """The attack's proposal (C, H, W) at one eps; the image itself where it has none, or none that is finite."""
        devices = [target.origin.device] if target.origin.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(derived_seed(target.seed, target.sha256, attack.name, eps_255))
            try:
                _, clipped, _ = find_attack(attack.class_name)(
                    self._foolbox_model,
                    target.origin[None],
                    torch.tensor([target.label], device=target.origin.device),
                    epsilons=eps_255 / 255,
                )
            except (AssertionError, ValueError):
                return target.origin  # how foolbox says that it found nothing to begin with on this image
            finally:
                self._progress.asking(())
        picture: Tensor = clipped[0].detach()
        return torch.where(picture.isfinite(), picture, target.origin)

    @cached_property
    def _foolbox_model(self) -> Any:
        import foolbox

        return foolbox.PyTorchModel(self._model, bounds=(0, 1), device=self._device)


class _Counted(nn.Module):
    """The working copy as a module, counting what foolbox spends."""

    def __init__(self, working: Logits, work: Work, image: str, progress: Progress) -> None:
        super().__init__()
        self.eval()
        self._working, self._work, self._image, self._progress = working, work, image, progress

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; one image asked for a gradient counts as one gradient, else as one forward."""
        if x.requires_grad:
            self._work.gradients += len(x)
        else:
            self._work.forwards += len(x)
        self._progress.asking([self._image])
        try:
            return self._working(x)
        except Exception as error:  # the model's own: not foolbox's way of saying that nothing was found
            raise UnanswerableError(self._image, error) from error


_TARGETED_ONLY = ("GenAttack",)
"""Attacks that must be told a class to move to: asked for any wrong answer, they refuse every image."""


def find_attack(class_name: str) -> Any:
    """An instance of foolbox's attack of that name, with foolbox's defaults.

    Raises:
        SettingsError: foolbox has no such attack, it needs arguments, a class to move to or a package that is not
            there, or it bounds another norm than L-inf.
    """
    import foolbox

    found = getattr(foolbox.attacks, class_name, None)
    if not isinstance(found, type) or not issubclass(found, foolbox.attacks.base.Attack):
        raise SettingsError(f"--attacks foolbox:{class_name}: foolbox has no such attack; see foolbox.attacks")
    try:
        attack = found()
    except TypeError as error:
        raise SettingsError(f"--attacks foolbox:{class_name}: needs arguments ({error}); choose another") from None
    except ImportError as error:
        raise SettingsError(f"--attacks foolbox:{class_name}: needs {error.name}, which is not installed") from None
    if class_name in _TARGETED_ONLY:
        raise SettingsError(f"--attacks foolbox:{class_name}: needs a class to move to; choose another")
    if _norm(attack) != foolbox.distances.linf:
        raise SettingsError(f"--attacks foolbox:{class_name}: bounds another norm, wanted L-inf; choose another")
    return attack


def _norm(attack: Any) -> Any:
    """What an attack's size is measured in; None where it does not say."""
    try:
        return getattr(attack, "distance", None)
    except ValueError:  # how foolbox says that it must be told
        return None

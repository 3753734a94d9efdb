"""What the checks are judged on: everything a scan has seen, as plain data. No model is asked anything here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from robaudit import tally
from robaudit.attack.losses import Loss
from robaudit.attack.threats import AnyAttack, Attack, Corners, Source, Square
from robaudit.load.outputs import Outputs
from robaudit.records import Check, Count, ImageRow, Observed, Record, Spent


class GradientCounts(Record):
    """How many of the model's own gradients that attacks followed were useless."""

    n_gradients: Count = 0
    n_zero: Count = 0
    """Zero at every pixel."""
    n_margin: Count = 0
    """Of `n_gradients`, those of a margin of the answers, which cannot fade with confidence."""
    n_zero_margin: Count = 0
    n_non_finite: Count = 0
    n_behind: Count = 0
    """Of `n_gradients`, those of what the last linear layer returns: not among those above."""
    n_useless_behind: Count = 0
    """Of `n_behind`, zero at every pixel or not finite."""

    def plus(self, other: GradientCounts) -> GradientCounts:
        """Both together."""
        return GradientCounts(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class Probe(Record):
    """What one image was asked for a check, beyond the attacks of the plan."""

    check: str
    """Id of the check."""
    name: str
    """Attack that was run, or what else was done."""
    id: str
    """Of the image."""
    found_255: int | None = None
    """Smallest eps at which the attack newly fooled the image; null: none."""
    answer: bool | None = None
    """The check's own finding for the image, where it is no eps; null: it does not apply to this image."""
    error: str | None = None
    """Why there is no answer, where the model fails on what the check asked about."""
    spent: Spent = Spent()
    gradients: GradientCounts = GradientCounts()
    batch_size: int | None = None
    """Padded batch shape that it was asked in at last."""


@dataclass(frozen=True)
class Share:
    """How many of the images that were asked show something."""

    n_found: int
    n_images: int
    sampled: bool = False
    """Whether these are a sample."""


Kind = Callable[[AnyAttack], bool]
"""Whether an attack is of a kind."""


@dataclass(frozen=True)
class Evidence:
    """Everything a scan has seen."""

    rows: Collection[ImageRow]
    """Of all images; read from disk in every pass."""
    observed: Collection[Observed]
    """Of the images answered correctly without an attack."""
    attacks: Sequence[AnyAttack]
    grid: Sequence[int]
    gradients: GradientCounts = GradientCounts()  # noqa: RUF009 (frozen)
    blind: Sequence[str] = ()
    """Ids of the images that had useless gradients of the margin, or such as are not finite."""
    outputs: Outputs = Outputs()  # noqa: RUF009 (frozen)
    state_before: str = ""
    state_after: str = ""
    unrepeatable: float = 0.0
    """Largest relative change of a logit between passes."""
    has_front: bool = False
    has_head: bool = False
    """Whether something is done to the answers of the last linear layer."""
    has_surrogate: bool = False
    overlap: Share | None = None
    """Audited images that the train or val part of the same data has too; None: it has no such part."""
    sample_size: int = 0
    """Images that were asked more than the plan does; 0: the user left the sampled checks out."""
    probes: Mapping[str, Sequence[Probe]] = field(default_factory=dict)
    """By check."""

    @property
    def standing(self) -> Iterator[ImageRow]:
        """Rows of the images answered correctly without an attack."""
        return (row for row in self.rows if row.error is None and row.prediction == row.label)

    def names(self, wanted: Kind) -> list[str]:
        """Names of the attacks of a kind."""
        return [attack.name for attack in self.attacks if wanted(attack)]

    def ran_on_all(self, wanted: Kind) -> bool:
        """Whether an attack of a kind was run on every image, and not only below where others had fooled it."""
        return any(wanted(attack) and (attack.scope == "all" or not index) for index, attack in enumerate(self.attacks))

    def gained(self, new: Kind, old: Kind) -> Share:
        """Most images, at one eps, that attacks of one kind fool and those of another do not."""
        newer, older = self.names(new), self.names(old)
        pairs = ((_smallest(row, newer), _smallest(row, older)) for row in self.standing)
        return Share(most_at_one_eps(pairs, self.grid), len(self.rows))

    def gained_in_sample(self, check: str) -> Share:
        """Most sampled images, at one eps, that a check's own attacks fool and those of the audit do not."""
        found: dict[str, int] = {}
        for probe in self.probes.get(check, ()):
            smallest = tally.NEVER if probe.found_255 is None else probe.found_255
            found[probe.id] = min(smallest, found.get(probe.id, tally.NEVER))
        pairs = ((found[row.id], tally.worst_eps(row)) for row in self.rows if row.id in found)
        return Share(most_at_one_eps(pairs, self.grid), len(found), sampled=True)

    def gained_where_run(self, check: str, new: Kind, old: Kind) -> Share | None:
        """What attacks of a kind gain: on all images where the audit has them, else in the sample; None: not asked.

        Of no image at all where none of the old kind was run on all: what was not tried has not failed.
        """
        if not self.names(new) and not self.sample_size:
            return None
        if not self.ran_on_all(old):
            return Share(0, 0)
        return self.gained(new, old) if self.names(new) else self.gained_in_sample(check)

    def answered_no(self, check: str) -> Share | None:
        """Sampled images that answered a check's question with no; None: not asked."""
        if not self.sample_size:
            return None
        asked = [probe for probe in self.probes.get(check, ()) if probe.answer is not None]
        return Share(sum(probe.answer is False for probe in asked), len(asked), sampled=True)

    def observed_share(self, shows: Callable[[Observed], bool], asked: Callable[[Observed], bool] = bool) -> Share:
        """Correctly answered images that show something, of those asked."""
        shown = [shows(each) for each in self.observed if asked(each)]
        return Share(sum(shown), len(shown))

    def refused(self, wanted: Kind) -> Share:
        """Correctly answered images that withstood an attack of a kind after it had fooled what it follows.

        Of those that withstood one, or fell to it, over as many steps as tell.
        """
        names = set(self.names(wanted))
        return self.observed_share(
            lambda each: not names.isdisjoint(each.refused), lambda each: not names.isdisjoint(each.climbed)
        )


Judge = Callable[[Evidence], Check]
"""One check: what was seen -> what it says."""


def most_at_one_eps(pairs: Iterable[tuple[int, int]], grid: Sequence[int]) -> int:
    """Most pairs (new, old) of smallest fooling eps that part at one eps of the grid: new fools there, old does not."""
    counts = Counter(pairs)
    return max((sum(n for (new, old), n in counts.items() if new <= eps < old) for eps in grid), default=0)


def follows_margin(attack: AnyAttack) -> bool:
    """Whether an attack follows the model's own gradient of a margin."""
    return isinstance(attack, Attack) and attack.source is Source.MODEL and attack.loss is not Loss.CROSS_ENTROPY


def follows_entropy(attack: AnyAttack) -> bool:
    """Whether an attack follows the model's own gradient of cross-entropy."""
    return isinstance(attack, Attack) and attack.source is Source.MODEL and attack.loss is Loss.CROSS_ENTROPY


def follows_answers(attack: AnyAttack) -> bool:
    """Whether an attack follows the model's own gradient, of either loss: through T and C, and from its answers."""
    return follows_entropy(attack) or follows_margin(attack)


def is_iterative(attack: AnyAttack) -> bool:
    """Whether an attack takes more than one step."""
    return isinstance(attack, Attack) and not attack.is_single_step


def is_white_box(attack: AnyAttack) -> bool:
    """Whether an attack follows gradients of the model itself, past T and C or through them."""
    return isinstance(attack, Attack) and attack.source is not Source.SURROGATE


def is_gradient_free(attack: AnyAttack) -> bool:
    """Whether an attack searches by queries alone."""
    return isinstance(attack, Square)


def is_random(attack: AnyAttack) -> bool:
    """Whether an attack draws corners of the ball."""
    return isinstance(attack, Corners)


def transfers(attack: AnyAttack) -> bool:
    """Whether an attack makes its pictures on another model."""
    return isinstance(attack, Attack) and attack.source is Source.SURROGATE


def sees_past_front(attack: AnyAttack) -> bool:
    """Whether an attack replaces T and C by the identity in the backward pass."""
    return isinstance(attack, Attack) and attack.source is Source.BPDA


def looks_behind_answers(attack: AnyAttack) -> bool:
    """Whether an attack follows what the last linear layer returns, whatever the model makes of it."""
    return isinstance(attack, Attack) and attack.source is Source.HEAD


def _smallest(row: ImageRow, attacks: Iterable[str]) -> int:
    return min((tally.fooling_eps(row, attack) for attack in attacks), default=tally.NEVER)

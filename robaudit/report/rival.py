"""What T and C add: an assimilated model against the same training of the network without them.

Against the vanilla model, a gain may be fine-tuning's alone. Whether two audits are of such a pair is told by the
training.json that stands in the folder of each model, as long as the folder still holds the model that was audited.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.records import AuditRecord, Scalar
from robaudit.report.paired import PairedTest
from robaudit.report.words import duration, eps_ranges, listed
from robaudit.retrofit_records import TrainingRecord

# A training without T and C has no use for these.
_OF_T_AND_C = frozenset(
    {"front", "tint", "random_front", "front_learning_rate", "alpha", "levels", "patch", "rows", "scaled", "glcm_on"}
)


@dataclass(frozen=True)
class Rivals:
    """Two trainings of one network, with T and C and without."""

    alone: TrainingRecord
    with_front: TrainingRecord

    @property
    def modules(self) -> str:
        """What stands before the network of the one: `T and C`, `T` or `C`."""
        return listed(self.with_front.modules.split("+"))

    @property
    def differing(self) -> list[str]:
        """What differs, though a training without T and C has use for it too."""
        first, second = _chosen(self.alone), _chosen(self.with_front)
        shared = sorted(first.keys() & second.keys())
        return [f"{name} ({first[name]} against {second[name]})" for name in shared if first[name] != second[name]]


def rivals(alone: TrainingRecord | None, with_front: TrainingRecord | None) -> Rivals | None:
    """Take the second model for the rival of the first; None where they are no such pair."""
    if alone is None or with_front is None or _began(alone) != _began(with_front):
        return None
    return Rivals(alone, with_front) if alone.modules == "none" != with_front.modules else None


def _began(training: TrainingRecord) -> tuple[str, str, str, Scalar]:
    """What two trainings must share to be rivals: the network, the images, and what training faces."""
    return training.vanilla.sha256, training.train.sha256, training.val.sha256, training.settings.get("robust")


def _chosen(training: TrainingRecord) -> dict[str, Scalar]:
    """What decides the result and a training without T and C has use for too, wherever it stands in the record."""
    normalization, size = training.vanilla.normalization, training.vanilla.input
    return {
        **{name: value for name, value in training.settings.items() if name not in _OF_T_AND_C | {"preset"}},
        "input size": f"{size.height}x{size.width}",
        "mean": " ".join(map(str, normalization.mean)),
        "std": " ".join(map(str, normalization.std)),
        "workers": training.workers,
    }


def what_they_add(pair: Rivals, tests: Sequence[PairedTest], why: str, *, n_tests: int | None = None) -> str:
    """Say what T and C add, or that there is no evidence of it, and what it took.

    Args:
        pair: how both models were trained.
        tests: paired tests under attack, of the network alone against the one with T and C.
        why: why there are no tests; empty where there are.
        n_tests: how many tests the correction counts; None: these alone.
    """
    differing = pair.differing
    training = "fine-tuning" if pair.alone.settings.get("robust") == "none" else "adversarial fine-tuning"
    over = f"over {'' if differing else 'the same '}{training} without {_them(pair)}"
    took = (
        f"Training took {duration(pair.with_front.seconds)} with {pair.modules} and {duration(pair.alone.seconds)} "
        "without."
    )
    return " ".join(
        [
            f"What {pair.modules} {_verb(pair, 'add')} {over} is not known: {why}."
            if why
            else _answer(pair, over, tests, n_tests or len(tests)),
            *([f"The trainings differ in {listed(differing)}."] if differing else []),
            took,
        ]
    )


def unattributed(before: AuditRecord, after: AuditRecord) -> list[str]:
    """Say that a change may be the training's alone, where the second model alone has T and C.

    A first model that is not the vanilla one may itself be of such a training, and its folder be out of reach.
    """
    if before.model.front is not None or after.model.front is None:
        return []
    modules = listed(after.model.front.modules.split("+"))
    add, them = ("add", "them") if "and" in modules else ("adds", "it")
    unknown = f"What {modules} {add} over the same (adversarial) fine-tuning without {them} is not known"
    if before.model.sha256 == after.model.front.vanilla.sha256:
        return [f"{unknown}: there is no audit of that (assimilate --front none)."]
    return [
        f"{unknown} from these audits: whether the first is of that (assimilate --front none) is told by the folders "
        "of both models, which must be reachable under the paths in the records."
    ]


def _answer(pair: Rivals, over: str, tests: Sequence[PairedTest], n_tests: int) -> str:
    better, worse, neither = (
        eps_ranges([test.eps_255 for test in tests if test.answer == answer])
        for answer in ("improved", "worse", "no evidence")
    )
    counted = f"{n_tests} eps" if n_tests == len(tests) else f"the {n_tests} tests of all such pairs"
    tested = f"(exact McNemar tests, Holm’s correction over {counted})"
    if not better and not worse:
        return f"No evidence that {pair.modules} {_verb(pair, 'add')} anything {over} {tested}."
    clauses = [
        *([f"{_verb(pair, 'add')} robust accuracy at {better}"] if better else []),
        *([f"{_verb(pair, 'cost')} robust accuracy at {worse}"] if worse else []),
    ]
    open_still = f"; no evidence of a difference at {neither}" if neither else ""
    return f"{pair.modules} {listed(clauses)}, {over}{open_still} {tested}."


def _verb(pair: Rivals, verb: str) -> str:
    return verb if "and" in pair.modules else f"{verb}s"


def _them(pair: Rivals) -> str:
    return "them" if "and" in pair.modules else "it"

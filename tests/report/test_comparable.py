from typing import Any

import pytest
from made_up_audits import PARAMS, make_data, make_model, make_record, make_rows

from robaudit.errors import RecordError
from robaudit.records import AuditRecord, DataInfo, FileRef, InputSize, Loading, Verdict
from robaudit.report.comparable import further_attacks, require_comparable, unpairable, why_untested

ROWS = make_rows()
RECORD = make_record(ROWS)


def changed(**changes: Any) -> AuditRecord:
    return RECORD.model_copy(update=changes)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("data.sha256", changed(data=make_data(ROWS, sha256="other"))),
        ("model.classes", changed(model=make_model(classes=("cancer", "healthy")))),
        (
            "threat_model.eps_255",
            changed(threat_model=RECORD.threat_model.model_copy(update={"eps_255": (1, 2)})),
        ),
        ("model.loading.threshold", changed(model=make_model(loading=Loading(kind="checkpoint", threshold=0.3)))),
        ("threat_model.upper", changed(threat_model=RECORD.threat_model.model_copy(update={"upper": 2.0}))),
        (
            "threat_model.image_channels",
            changed(threat_model=RECORD.threat_model.model_copy(update={"image_channels": "rgb"})),
        ),
    ],
)
def test_audits_of_different_questions_are_refused_by_field(field: str, other: AuditRecord):
    with pytest.raises(RecordError, match=field):
        require_comparable(RECORD, other)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            make_data(ROWS, sha256="other", shown=("--invert", "--resize crop")),
            "data.shown differs (as they are stored against --invert --resize crop)",
        ),
        (make_data(ROWS[:24], path="data/other"), "(40 images of data/chest-ct/test, "),
        (make_data(ROWS[:24], path="data/other"), " against 24 images of data/other, "),
    ],
)
def test_what_differs_about_the_images_is_said_before_their_hash(data: DataInfo, says: str):
    with pytest.raises(RecordError) as error:
        require_comparable(RECORD, changed(data=data))
    assert says in str(error.value)


def test_seeds_and_class_order_may_differ():
    other = changed(seed=7, model=make_model(classes=("no-cancer", "cancer")))
    require_comparable(RECORD, other)
    assert unpairable(RECORD, other) == ()


def with_pgd(**params: Any) -> AuditRecord:
    attacks = [
        attack.model_copy(update={"params": PARAMS["pgd"] | params}) if attack.name == "pgd" else attack
        for attack in RECORD.attacks
    ]
    return changed(attacks=attacks)


@pytest.mark.parametrize(
    ("says", "other"),
    [
        ("settings of PGD", with_pgd(steps=10)),
        ("attack FGSM (in one audit only)", changed(attacks=RECORD.attacks[1:])),
        ("attacks FGSM, BIM and PGD (in one audit only)", changed(attacks=RECORD.attacks[2:3])),
        ("protocol (nested against paper)", changed(protocol="paper")),
        (
            "input grid (224×224 against 96×128)",
            changed(model=make_model(input=InputSize(channels=3, height=96, width=128))),
        ),
    ],
)
def test_what_else_differs_is_named(says: str, other: AuditRecord):
    require_comparable(RECORD, other)
    assert unpairable(RECORD, other) == (says,)


@pytest.mark.parametrize("name", ["search", "rescale", "warm_start"])
def test_a_search_that_finds_another_eps_is_a_difference(name: str):
    """Fooling is not monotone in eps, so what is found depends on where it is looked for."""

    def searched(**settings: Any) -> AuditRecord:
        return changed(environment=RECORD.environment.model_copy(update={"settings": settings}))

    first, second = searched(**{name: "one"}, batch_size_asked=None), searched(**{name: "other"}, batch_size_asked=4)
    assert unpairable(first, second) == (f"{name} (one against other)",)
    assert unpairable(first, first) == ()


def test_gradients_in_fewer_bits_are_a_difference():
    in_bfloat16 = changed(environment=RECORD.environment.model_copy(update={"precision": "bfloat16"}))
    assert unpairable(RECORD, in_bfloat16) == ("gradient precision (float32 against bfloat16)",)


def test_another_surrogate_makes_another_transfer_attack_and_is_nothing_to_the_others():
    def transferred(sha256: str) -> AuditRecord:
        attack = RECORD.attacks[0].model_copy(update={"name": "transfer", "params": {"source": "surrogate"}})
        return changed(attacks=(*RECORD.attacks, attack), surrogate=FileRef(path="other.pt", sha256=sha256))

    assert unpairable(transferred("a" * 64), transferred("b" * 64)) == ("settings of transfer",)
    assert unpairable(transferred("a" * 64), transferred("a" * 64)) == ()
    of_check_alone = (changed(surrogate=FileRef(path="other.pt", sha256=each * 64)) for each in "ab")
    assert unpairable(*of_check_alone) == ()


def further(name: str = "bpda", scope: str = "survivors") -> AuditRecord:
    attack = RECORD.attacks[0].model_copy(update={"name": name, "scope": scope, "raw_points": None})
    return changed(attacks=(*RECORD.attacks, attack))


def test_further_attacks_on_the_second_model_alone_are_no_difference_but_are_named():
    """They come after all others and can only lower its curve."""
    assert unpairable(RECORD, further()) == ()
    assert further_attacks(RECORD, further()) == ("bpda",)
    assert further_attacks(RECORD, RECORD) == ()


def test_further_attacks_on_the_first_model_or_in_place_of_another_are_a_difference():
    assert unpairable(further(), RECORD) == ("attack bpda (in one audit only)",)
    assert unpairable(RECORD, further(scope="all")) == ("attack bpda (in one audit only)",)
    lacking = further().model_copy(update={"attacks": further().attacks[1:]})
    assert unpairable(RECORD, lacking) == ("attacks FGSM and bpda (in one audit only)",)


def test_the_order_of_the_attacks_is_a_difference_where_a_search_begins_at_what_was_found_before():
    """Under the paper's protocol every eps is run from a cold start."""
    assert unpairable(RECORD, changed(attacks=RECORD.attacks[::-1])) == ("the order of attacks",)
    paper = changed(protocol="paper")
    assert unpairable(paper, paper.model_copy(update={"attacks": RECORD.attacks[::-1]})) == ()


def test_one_inconclusive_audit_puts_both_in_doubt():
    doubtful = changed(verdict=Verdict(kind="inconclusive", sentence="Masked."))
    assert why_untested(RECORD, RECORD) == ""
    assert why_untested(RECORD, doubtful) == why_untested(doubtful, RECORD) == "an audit is inconclusive"

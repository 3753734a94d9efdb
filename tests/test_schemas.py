"""Schemas, and records of older and newer robaudits."""

import json
import tomllib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from robaudit import records
from robaudit.cli.main import app
from robaudit.errors import RecordError
from robaudit.records import AuditRecord, Check, read_audit

REPOSITORY = Path(__file__).parents[1]
NAMES = ("audit", "row", "policy", "gate", "page", "status")


def schema(*names: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["schema", *names])
    assert result.exit_code == 0
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def errors(name: str, document: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema(name), format_checker=jsonschema.FormatChecker())
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema()[name] == schema(name)


def test_a_record_keeps_its_schema(audit_of: Callable[..., AuditRecord]) -> None:
    document = json.loads(audit_of().model_dump_json())
    assert errors("audit", document) == []
    document["clean"]["n_correct"] = -1
    assert len(errors("audit", document)) == 1


def test_the_example_policy_keeps_its_schema() -> None:
    assert errors("policy", tomllib.loads((REPOSITORY / "examples" / "robaudit.toml").read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"measure": "clean"},
        {"measure": "clean", "at_least": 0.5, "max_drop": 0.1},
        {"measure": "clean", "at_least": "0.5"},
        {"measure": "clean", "at_least": 60},
        {"measure": "worst_case", "at_least": 0.5},
        {"measure": "clan", "at_least": 0.5},
        {"measure": "clean", "at_least": 0.5, "klass": "cancer"},
    ],
)
def test_an_editor_can_point_out_what_the_gate_would_refuse(rule: dict[str, Any]) -> None:
    assert errors("policy", {"rule": [rule]})


@pytest.fixture
def written(audit_of: Callable[..., AuditRecord], tmp_path: Path) -> Callable[..., Path]:
    """Write an audit with fields changed."""

    def write(**changes: object) -> Path:
        path = tmp_path / "audit.json"
        path.write_text(json.dumps({**json.loads(audit_of().model_dump_json()), **changes}), encoding="utf-8")
        return path

    return write


def test_a_record_of_a_newer_schema_is_refused_with_the_way_out(written: Callable[..., Path]) -> None:
    with pytest.raises(RecordError, match=r"has schema_version 2, this robaudit reads up to 1; upgrade robaudit"):
        read_audit(written(schema_version=2))


def test_a_field_of_a_newer_robaudit_is_refused_with_the_way_out(written: Callable[..., Path]) -> None:
    with pytest.raises(RecordError, match=r"verified_by.*; upgrade robaudit, or scan again"):
        read_audit(written(verified_by="somebody"))


@pytest.mark.parametrize("version", [0, -3])
def test_a_version_that_never_was_is_refused(written: Callable[..., Path], version: int) -> None:
    with pytest.raises(RecordError, match=rf"has schema_version {version}, which no robaudit wrote"):
        read_audit(written(schema_version=version))


def test_a_record_of_an_older_schema_is_read(written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As if version 0 had called the seed `random_seed`."""

    def upgrade(document: dict[str, Any]) -> dict[str, Any]:
        return {
            **{key: value for key, value in document.items() if key != "random_seed"},
            "seed": document["random_seed"],
        }

    monkeypatch.setitem(records.UPGRADES, 0, upgrade)
    path = written(schema_version=0, random_seed=7)
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["seed"]
    path.write_text(json.dumps(old), encoding="utf-8")
    record = read_audit(path)
    assert (record.seed, record.schema_version) == (7, 1)


def test_more_correct_answers_than_images_are_refused(
    written: Callable[..., Path], audit_of: Callable[..., AuditRecord]
) -> None:
    clean = {**audit_of(60, 100).clean.model_dump(), "n_correct": 95, "n_errors": 6}
    with pytest.raises(RecordError, match="95 correct and 6 errors are more than 100 images"):
        read_audit(written(clean=clean))


def test_a_curve_with_two_points_for_one_eps_is_refused(
    written: Callable[..., Path], audit_of: Callable[..., AuditRecord]
) -> None:
    """Else whichever comes last would decide what a gate sees."""
    (point,) = audit_of(60, 100).model_dump(mode="json")["worst_case"]["points"]
    with pytest.raises(RecordError, match=r"the eps of a curve do not ascend: \[4, 4\]"):
        read_audit(written(worst_case={"points": [point, point]}))


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (("data", "n_images"), 5000, "clean counts 100 images where data has 5000"),
        (("data", "per_class", "cancer"), 40, "clean counts 50 images where data has 40"),
        (("clean", "per_class"), {}, "n_correct is 60, and 0 over its classes"),
        (("clean", "n_correct"), 61, "n_correct is 61, and 60 over its classes"),
        (("worst_case", "points"), [], r"worst_case has the eps \[\], threat_model \[4, 8\]"),
        (("attacks", 0, "raw_points"), [], r"raw pgd has the eps \[\], threat_model \[4, 8\]"),
        (("worst_case", "points", 0), (45, 25), "worst_case at 4/255: 25 images of cancer are correct, under pgd 20"),
        (("worst_case", "points", 1), (40, 25), "worst_case at 8/255: 25 images of cancer are correct, at 4/255 20"),
        (("attacks", 0, "points", 0), (70, 40), "40 images of cancer are correct, without any attack 30"),
        (("attacks", 0, "points", 1, "n_errors"), 1, "n_errors is 1, and 0 over its classes"),
        (("verdict", "kind"), "measured", "the verdict is measured, and the check unbounded failed"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    written: Callable[..., Path], audit_of: Callable[..., AuditRecord], at: tuple[Any, ...], value: Any, said: str
) -> None:
    """A gate would let it pass by whichever of its numbers the policy happens to ask for."""
    path = written(**_measured_at_two_eps(audit_of))
    read_audit(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    *parents, last = at
    holder = reduce(lambda inner, key: inner[key], parents, document)
    holder[last] = _point(holder[last], *value) if isinstance(value, tuple) else value
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RecordError, match=said):
        read_audit(path)


def _measured_at_two_eps(audit_of: Callable[..., AuditRecord]) -> dict[str, Any]:
    """Of 100 images 60 are right without an attack, and 40 at either eps; one check failed."""
    document = audit_of(60).model_dump(mode="json")
    (at_4,) = audit_of(40).model_dump(mode="json")["worst_case"]["points"]
    points = [at_4, {**at_4, "eps_255": 8}]
    check = Check(id="unbounded", status="failed", value=1, threshold=0, why="Some resist.", remedy="Mend.")
    return {
        "threat_model": {**document["threat_model"], "eps_255": [4, 8]},
        "attacks": [{**document["attacks"][0], "points": points, "raw_points": points}],
        "worst_case": {"points": points},
        "checks": [check.model_dump(mode="json")],
        "verdict": {"kind": "inconclusive", "sentence": "Inconclusive: some resist."},
    }


def _point(point: dict[str, Any], n_correct: int, cancer: int) -> dict[str, Any]:
    """The point with other counts that add up."""
    counted = {"cancer": cancer, "no-cancer": n_correct - cancer}
    per_class = {name: {**tally, "n_correct": counted[name]} for name, tally in point["per_class"].items()}
    return {**point, "n_correct": n_correct, "per_class": per_class}


def test_a_time_without_its_zone_is_refused(written: Callable[..., Path]) -> None:
    """Which of two audits is the newer could not be told."""
    with pytest.raises(RecordError, match=r"created: Input should have timezone info"):
        read_audit(written(created="2025-01-01T00:00:00"))


def test_curves_of_the_papers_protocol_may_rise_again(
    written: Callable[..., Path], audit_of: Callable[..., AuditRecord]
) -> None:
    """There each eps is judged on its own; the worst case is nested all the same."""
    fields = _measured_at_two_eps(audit_of)
    [attack] = fields["attacks"]
    rises = [attack["points"][0], _point(attack["points"][1], 50, 25)]
    attacks = [{**attack, "points": rises, "raw_points": rises}]
    assert read_audit(written(**fields | {"attacks": attacks, "protocol": "paper"})).protocol == "paper"
    with pytest.raises(RecordError, match="pgd at 8/255: 25 images of cancer are correct, at 4/255 20"):
        read_audit(written(**fields | {"attacks": attacks}))


def test_an_unfinished_audit_need_not_have_got_to_every_image(
    written: Callable[..., Path], audit_of: Callable[..., AuditRecord]
) -> None:
    data = {**audit_of(60).data.model_dump(mode="json"), "n_images": 200, "per_class": {"cancer": 90, "no-cancer": 110}}
    assert read_audit(written(data=data, status="partial")).clean.n_images == 100
    with pytest.raises(RecordError, match="clean counts 100 images where data has 200"):
        read_audit(written(data=data))

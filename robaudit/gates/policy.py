"""robaudit.toml -> Policy: which rules an audit must keep. Thresholds stay the decimals the file spells."""

import re
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from robaudit.errors import PolicyError
from robaudit.records import Eps255

Mode = Literal["strict", "lenient"]


def _as_decimal(value: Any) -> Any:
    """Let `1` stand for `1.0`, as people write it; `true` is not a number."""
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


Share = Annotated[
    Decimal,
    BeforeValidator(_as_decimal),
    Field(ge=0, le=1),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
"""A share of the images, from 0 to 1: 0.60, not 60."""


class _Strict(BaseModel):
    # Strict: a threshold spelled "0.6" in quotes is a mistake to point out, not a number.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class _Rule(_Strict):
    mode: Mode | None = None
    """Overrides the policy's mode for this rule."""


class _AccuracyRule(_Rule):
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["at_least"]}, {"required": ["max_drop"]}]})

    class_name: str | None = Field(default=None, alias="class")
    """Ask for the recall of this class instead of the accuracy on all images."""
    at_least: Share | None = None
    max_drop: Share | None = None
    """How far below the baseline audit it may lie."""

    @model_validator(mode="after")
    def _one_bound(self) -> "_AccuracyRule":
        if (self.at_least is None) == (self.max_drop is None):
            raise ValueError("wants exactly one of at_least and max_drop (write two rules for both)")
        return self


class CleanRule(_AccuracyRule):
    """Accuracy without any attack."""

    measure: Literal["clean"]


class WorstCaseRule(_AccuracyRule):
    """Accuracy at one eps, each image under whichever attack did worst to it."""

    measure: Literal["worst_case"]
    eps_255: Eps255


class AttackRule(_AccuracyRule):
    """Accuracy at one eps under one attack."""

    measure: Literal["attack"]
    attack: str
    eps_255: Eps255


class ImagesRule(_Rule):
    """How many images were audited, in all or of one class."""

    measure: Literal["images"]
    class_name: str | None = Field(default=None, alias="class")
    at_least: Annotated[int, Field(ge=1)]


class CheckRule(_Rule):
    """A check of the audit itself that must have passed."""

    measure: Literal["check"]
    check: str


AccuracyRule = CleanRule | WorstCaseRule | AttackRule
Rule = Annotated[AccuracyRule | ImagesRule | CheckRule, Field(discriminator="measure")]


class PolicyFile(_Strict):
    """What a robaudit.toml may hold."""

    mode: Mode = "strict"
    """strict: the whole 95% interval must lie on the right side of a bound; lenient: the estimate decides."""
    rule: Annotated[tuple[Rule, ...], Field(min_length=1)]
    """The rules, one [[rule]] table each."""


def subject(rule: Rule) -> str:
    """Name what a rule is about, without its threshold: `worst_case/4/cancer/max_drop`."""
    parts: list[str] = [rule.measure]
    if isinstance(rule, AttackRule):
        parts.append(rule.attack)
    if isinstance(rule, AttackRule | WorstCaseRule):
        parts.append(str(rule.eps_255))
    if isinstance(rule, CheckRule):
        parts.append(rule.check)
    elif rule.class_name is not None:
        parts.append(rule.class_name)
    if isinstance(rule, CleanRule | AttackRule | WorstCaseRule) and rule.max_drop is not None:
        parts.append("max_drop")
    return "/".join(parts)


@dataclass(frozen=True)
class Policy:
    """The rules an audit must keep."""

    rules: tuple[Rule, ...]
    mode: Mode
    """strict: the whole 95% interval must lie on the right side; lenient: the estimate decides."""
    source: str
    """The file it was read from."""
    lines: tuple[int, ...]
    """Where each rule stands in that file, counted from 1."""


def read_policy(path: Path | str) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: the file is missing, is not TOML, or a rule is invalid; names file, line and rule.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror}); pass a robaudit.toml") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: is not UTF-8 text; pass a robaudit.toml") from None
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path}{_toml_line(error)}: is not valid TOML ({error}); see docs/gate.md") from None
    except RecursionError:
        raise PolicyError(f"{path}: is not valid TOML (nested too deeply); see docs/gate.md") from None
    rules = content.get("rule")
    if isinstance(rules, list):
        content["rule"] = tuple(rules)  # strict validation takes no list for a tuple
    lines = _rule_lines(text, len(rules) if isinstance(rules, list) else 0)
    try:
        document = PolicyFile.model_validate(content)
    except ValidationError as error:
        raise PolicyError(f"{path}:{_first_problem(error, text, lines)}; see docs/gate.md") from None
    return Policy(document.rule, document.mode, source=str(path), lines=lines)


def _toml_line(error: tomllib.TOMLDecodeError) -> str:
    """`:LINE` of a syntax error, where the parser says it."""
    found = re.search(r"at line (\d+)", str(error))
    return f":{found[1]}" if found else ""


def _rule_lines(text: str, n_rules: int) -> tuple[int, ...]:
    """Line of each `[[rule]]`; line 1 for all where the file spells its rules in another way."""
    lines = enumerate(text.splitlines(), start=1)
    found = tuple(number for number, line in lines if re.match(r"\s*\[\[\s*rule\s*\]\]", line))
    return found if len(found) == n_rules else (1,) * n_rules


def _key_line(text: str, start: int, key: str) -> int:
    """Line of `key = ...` in the table that begins at line `start`; `start` where it is not spelled out."""
    for number, line in enumerate(text.splitlines()[start - 1 :], start=start):
        if number > start and line.lstrip().startswith("["):
            break
        if re.match(rf"\s*{re.escape(key)}\s*=", line):
            return number
    return start


def _first_problem(error: ValidationError, text: str, rule_lines: tuple[int, ...]) -> str:
    """Say `line: rule, key: what is wrong (what was found)` about the first problem."""
    # A misspelt key explains the key that is then missing, so it is told first.
    problem = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    message = _IN_WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if isinstance(problem["input"], str | int | float | Decimal):
        message += f" (it is {_spelled(problem['input'])})"
    match problem["loc"]:
        case ("rule", int(index), *rest):
            # Of a rule's path the first part is its measure, the last the key at fault.
            key = rest[-1] if len(rest) > 1 else "measure" if problem["type"].startswith("union_tag") else None
            line, place = rule_lines[index], f"rule {index + 1}"
        case (key, *_):
            line, place = 1, "policy"
        case _:
            key, line, place = None, 1, "policy"
    if key is None:
        return f"{line}: {place} {message}"
    return f"{_key_line(text, line, str(key))}: {place}, {key}: {message}"


def _spelled(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


_IN_WORDS = {
    "union_tag_invalid": "must be clean, worst_case, attack, images or check",
    "union_tag_not_found": "is missing; it must be clean, worst_case, attack, images or check",
    "missing": "is missing",
    "too_short": "holds no rule; nothing would be gated",
    "extra_forbidden": "is not a key that belongs here",
    "is_instance_of": "must be a number",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "model_attributes_type": "must be a [[rule]] table",
    "finite_number": "must be a number",
    "less_than_equal": "is too large; shares go from 0 to 1, eps_255 from 1 to 255",
    "greater_than_equal": "is too small; shares go from 0 to 1, counts and eps_255 start at 1",
    "tuple_type": "must be written as [[rule]] tables",
}

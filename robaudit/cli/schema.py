"""`robaudit schema`: JSON schemas of everything that programs read and write."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Name(StrEnum):
    """What has a schema."""

    AUDIT = "audit"
    ROW = "row"
    POLICY = "policy"
    GATE = "gate"
    PAGE = "page"
    STATUS = "status"


def schema(
    name: Annotated[
        Name | None,
        typer.Argument(
            help="audit: audit.json · row: a line of images.jsonl · policy: robaudit.toml · gate: what gate --json "
            "prints · page: what compare --json prints · status: what status --json prints "
            "[dim](default: all, by name)[/dim]."
        ),
    ] = None,
) -> None:
    """Print the JSON schema of a record, a policy or a result."""
    document = _schema(name) if name else {one.value: _schema(one) for one in Name}
    typer.echo(json.dumps(document, indent=2))


def _schema(name: Name) -> dict[str, Any]:
    from pydantic import BaseModel

    from robaudit.gates.document import GateDocument
    from robaudit.gates.policy import PolicyFile
    from robaudit.records import AuditRecord, ImageRow
    from robaudit.report.document import PageDocument
    from robaudit.report.status import Status

    models: dict[Name, type[BaseModel]] = {
        Name.AUDIT: AuditRecord,
        Name.ROW: ImageRow,
        Name.POLICY: PolicyFile,
        Name.GATE: GateDocument,
        Name.PAGE: PageDocument,
        Name.STATUS: Status,
    }
    return {"$schema": DIALECT, **models[name].model_json_schema(mode="validation")}

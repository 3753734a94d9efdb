"""robaudit audits medical image classifiers under adversarial attack, retrofits them and compares.

Importing this package costs nothing: `scan`, `assimilate`, `compare`, `run`, `gate` and `export` load what they
need (torch, pydantic, jinja2) at first use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_API = {
    "scan": "robaudit.audit.scan",
    "assimilate": "robaudit.retrofit.assimilate",
    "compare": "robaudit.report.html",
    "run": "robaudit.job.run",
    "gate": "robaudit.gates.gate",
    "export": "robaudit.deploy.export",
}

__all__ = ["__version__", *_API]


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module 'robaudit' has no attribute {name!r}")

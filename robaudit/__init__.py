"""robaudit audits medical image classifiers under adversarial attack, retrofits them and compares.

Importing this package costs nothing: `scan`, `assimilate`, `compare`, `run`, `gate` and `export` load what they
need (torch, pydantic, jinja2) at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robaudit.audit.scan import scan as scan
    from robaudit.deploy.export import export as export
    from robaudit.gates.gate import gate as gate
    from robaudit.job.run import run as run
    from robaudit.report.html import compare as compare
    from robaudit.retrofit.assimilate import assimilate as assimilate

__version__ = "0.1.0"

__all__ = ["__version__", "assimilate", "compare", "export", "gate", "run", "scan"]

_API = {
    "scan": "robaudit.audit.scan",
    "assimilate": "robaudit.retrofit.assimilate",
    "compare": "robaudit.report.html",
    "run": "robaudit.job.run",
    "gate": "robaudit.gates.gate",
    "export": "robaudit.deploy.export",
}


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module 'robaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

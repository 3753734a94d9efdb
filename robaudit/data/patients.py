"""Who is who: a patient's identifier as a hash, and beside it that of whoever issued it, where a file says so.

Tables give the identifier alone, so a key without an issuer is that of the same patient with any; two hospitals that
both count from 1 have different patients.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

_NOBODY = {
    "", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown", "n/a", "na", "<na>", "nan", "null",
}  # fmt: skip
"""What anonymisers and programs leave in place of an identifier: it tells no two patients apart."""
_KEY = re.compile(r"(patient-[0-9a-f]{16})(-[0-9a-f]{16})?")


def patient_key(identifier: str, issuer: str = "") -> str | None:
    """A patient's identifier as a hash, so that the identifier itself goes no further; None where it names nobody.

    A key stays as it is: a manifest that robaudit wrote names the same patients as the one it was made from.
    """
    identifier, issuer = identifier.strip(), issuer.strip()
    if identifier.lower() in _NOBODY:
        return None
    if _KEY.fullmatch(identifier):
        return identifier
    return "-".join(["patient", _hashed(identifier), *([_hashed(issuer)] if issuer else [])])


def without_issuer(key: str) -> str:
    """The key that the same patient has where no issuer is named."""
    found = _KEY.fullmatch(key)
    return found[1] if found else key


def met_again(keys: Iterable[str | None], others: Iterable[str | None]) -> set[str]:
    """Those of `keys` who may be among `others`; unknown patients are nobody."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    for other in filter(None, others):
        known[without_issuer(other)].add(other)
    return {
        key
        for key in filter(None, keys)
        if (same := known.get(plain := without_issuer(key))) and (key == plain or not same.isdisjoint((key, plain)))
    }


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

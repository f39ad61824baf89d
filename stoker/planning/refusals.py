"""Why nodes say no: counted by class, said as one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from stoker.records import Reason

SHOWN = 4
"""Classes of refusal in one sentence; the rest is counted."""


class Refusal(msgspec.Struct, frozen=True):
    """One node's no. `one` and `many` complete "1 …" and "2 …". `lasting`: an empty node would refuse too;
    `busy`: it could take the session once others leave.
    """

    code: str
    one: str
    many: str
    lasting: bool = False
    busy: bool = False


def sentence(refused: Mapping[str, Refusal]) -> str:
    """`3 nodes: 2 lack 40GiB of free GPU memory, 1 is cordoned`; a single node is named: `node-1 is cordoned`."""
    if len(refused) == 1:
        name, refusal = next(iter(refused.items()))
        return f"{name} {refusal.one}"
    classes = Counter(refused.values())
    ordered = sorted(classes.items(), key=lambda item: (-item[1], item[0].many))
    parts = [f"{count} {refusal.one if count == 1 else refusal.many}" for refusal, count in ordered[:SHOWN]]
    rest = sum(count for _, count in ordered[SHOWN:])
    if rest:
        parts.append(f"{rest} for other reasons")
    return f"{len(refused)} nodes: {', '.join(parts)}"


def reason(refused: Mapping[str, Refusal]) -> Reason:
    """The sentence, with the code that all share, else `no_fit`."""
    codes = {refusal.code for refusal in refused.values()}
    return Reason(codes.pop() if len(codes) == 1 else "no_fit", sentence(refused))

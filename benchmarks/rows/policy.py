"""Decisions of policy: a large one against a small one, about callers known to it and new."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from auth.decision import AccessRequest
from auth.policy.document import Dataset, Grant, PolicyDocument
from auth.policy.evaluation import NothingWithdrawn, Policy
from auth.policy.grants import VisaAtom, Who
from auth.policy.panels import Panel
from auth.policy.region_sets import RegionSet
from auth.principal import Principal, Visa
from benchmarks.measure import Gate, Row, Sample, row_of, speed_ratio, take_turns
from benchmarks.rows.setting import Setting
from formats.regions import Region

_CALLS = 20_000
_NEW_CALLERS = 500
_NOW = 1_800_000_000.0
_GRANTS_OF_A_DATASET = 100
_REGION = Region("chr2", 1_010, 1_020)


def decisions(setting: Setting) -> Iterator[Row]:
    """The same request of a caller with three visas, whatever else the policy holds."""
    many, rows = (1_000, 20_000) if setting.quick else (10_000, 200_000)
    small, large = _policy(10, 30), _policy(many, rows)
    for name, caller, title in (
        ("policy", _seen, "decision of policy"),
        ("policy-first", _unseen, "first decision about a caller"),
    ):
        samples = take_turns(
            {
                "small": partial(caller, small),
                "large": partial(caller, large),
            },
            setting.rounds,
        )
        yield row_of(
            f"{name}-flatness",
            f"{title}, {many:,} grants and {rows:,} intervals / 10 grants",
            speed_ratio(samples["small"], samples["large"], "CPU"),
            basis="CPU",
            gate=Gate(1.2, 1.05, most=True),
            figures={each: f"{_micros(samples[each]):.1f} µs" for each in samples},
        )


def _policy(grants: int, rows: int) -> Policy:
    """Grants of one panel, each to holders of a visa of its own, a hundred for each dataset."""
    regions = (
        Region(f"chr{number % 22 + 1}", number * 1_000, number * 1_000 + 200)
        for number in range(rows)
    )
    near = [Region("chr2", 1_000, 1_200)]
    panel = Panel("genes", Path("genes.bed"), "", "", "", RegionSet.of([*near, *regions]))
    datasets = max(1, grants // _GRANTS_OF_A_DATASET)
    return Policy(
        PolicyDocument(
            panels={"genes": panel},
            datasets=tuple(Dataset(f"D{each}", (f"reads/d{each}/*",)) for each in range(datasets)),
            grants=tuple(
                Grant(
                    id=f"G{number}",
                    dataset=f"D{number % datasets}",
                    reason="measured",
                    endpoints=frozenset(("reads",)),
                    classes=frozenset(("header", "body")),
                    regions=("panel:genes",),
                    who=Who(all_of=(VisaAtom("ControlledAccessGrants", f"V{number}"),)),
                )
                for number in range(grants)
            ),
        )
    )


def _caller() -> Principal:
    visas = tuple(
        Visa("https://visas", "s", "ControlledAccessGrants", value, "dac", "dac", 0, 2_000_000_000)
        for value in ("V0", "elsewhere", "nowhere")
    )
    return Principal(iss="https://login", sub="s", visas=visas)


def _seen(policy: Policy) -> Sample:
    return _ask(policy, [_caller()], _CALLS)


def _unseen(policy: Policy) -> Sample:
    return _ask(policy, [replace(_caller()) for _ in range(_NEW_CALLERS)], _NEW_CALLERS)


def _ask(policy: Policy, callers: list[Principal], calls: int) -> Sample:
    request = AccessRequest("reads", "d0/object", "BAM", regions=(_REGION,))
    consent = NothingWithdrawn()
    decide = policy.decide
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls // len(callers)):
        for caller in callers:
            if not decide(caller, request, consent=consent, now=_NOW).allowed:
                raise ValueError("what is measured must be a permission")
    return Sample(calls, time.perf_counter() - wall, time.process_time() - cpu)


def _micros(samples: list[Sample]) -> float:
    return 1e6 * median(sample.cost("CPU") for sample in samples)

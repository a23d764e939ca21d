"""Which lane, which version is better than the champion's? Paired losses, block by block.

The differences of every pair are watched from the moment that both count, so that a comparison can begin with
a bound that was frozen before its first block; where there were too few before, its own first ones are used
up for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

from penstock.contracts.records import LanesCompared, Source, VersionsCompared
from penstock.kernel.eprocess import EProcess
from penstock.kernel.ewma import Ewma
from penstock.kernel.policy import Compare
from penstock.kernel.spread import Spread
from penstock.monitor.domain.block import Block
from penstock.monitor.domain.findings import Finding
from penstock.monitor.domain.versions import Calendar, Counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One comparison, from its first block on.

    Args:
        since: start of that block.
        spread: of the block differences before the bound was frozen.
        better: evidence that the first is better; None while the bound is not known.
        worse: evidence that it is worse.
        ewma: of the differences by row.
        blocks: so far.
        rows: that both scored.
        sum: of the differences.
    """

    since: int
    spread: Spread
    ewma: Ewma
    better: EProcess | None = None
    worse: EProcess | None = None
    blocks: int = 0
    rows: int = 0
    sum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The spread of a pair's block differences."""

    first: str
    second: str
    spread: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Contests:
    """All comparisons of a pipeline.

    Args:
        champion: that the versions are compared with; None before the first block.
        lane: the champion's, that the lanes are compared with.
        versions: the contests of versions.
        lanes: those of lanes.
        version_pairs: spreads of the differences between versions.
        lane_pairs: the same between the versions that stand for lanes.
    """

    champion: int | None = None
    lane: str | None = None
    versions: Mapping[int, Contest] = field(default_factory=dict)
    lanes: Mapping[str, Contest] = field(default_factory=dict)
    version_pairs: tuple[Paired, ...] = ()
    lane_pairs: tuple[Paired, ...] = ()


def compared(
    contests: Contests,
    block: Block,
    counting: Mapping[int, Counting],
    calendar: Calendar,
    *,
    policy: Compare,
    cause: Source,
) -> tuple[Contests, list[Finding]]:
    """The comparisons after one more block, and how they stand."""
    champion, former = calendar.champions(block.start)
    if champion is None or champion not in counting:
        return contests, []
    lanes = calendar.lanes(block.start, counting, champion=champion)
    lane = calendar.lives[champion].lane
    version_spreads = {(each.first, each.second): each.spread for each in contests.version_pairs}
    lane_spreads = {(each.first, each.second): each.spread for each in contests.lane_pairs}
    findings: list[Finding] = []

    by_lane: dict[str, Contest] = {}
    before_lanes = contests.lanes if contests.lane == lane else {}
    for other, version in lanes.items():
        contest = before_lanes.get(other)
        rows, total = block.apart(version, champion)
        if other == lane or (contest is None and not rows):
            continue
        contest = contest or _begun(block.start, lane_spreads.get(_pair(other, lane)), policy)
        if rows:
            contest = _updated(contest, rows, total, policy, turned=False)
            findings.append(
                _finding(LanesCompared.__name__, contest, version, champion, calendar=calendar, cause=cause)
            )
        by_lane[other] = contest

    by_version: dict[int, Contest] = {}
    before_versions = contests.versions if contests.champion == champion else {}
    for version, each in counting.items():
        if version == champion or (
            calendar.is_yardstick(version) and version != former and not _recent(version, lanes)
        ):
            continue
        contest = before_versions.get(version)
        if contest is not None and contest.since < each.since:
            contest = None  # it was away in between
        rows, total = block.apart(version, champion)
        if contest is None and not rows:
            continue
        spread = version_spreads.get(_pair(str(version), str(champion)))
        contest = contest or _begun(block.start, spread, policy)
        if rows:
            contest = _updated(contest, rows, total, policy, turned=True)
            findings.append(
                _finding(
                    VersionsCompared.__name__, contest, version, champion, calendar=calendar, cause=cause
                )
            )
        by_version[version] = contest

    return Contests(
        champion=champion,
        lane=lane,
        versions=by_version,
        # A lane without a version on this block may have one again.
        lanes={**{name: each for name, each in before_lanes.items() if name != lane}, **by_lane},
        version_pairs=_watched(version_spreads, {str(version): version for version in counting}, block),
        lane_pairs=_watched(lane_spreads, lanes, block),
    ), findings


def _recent(version: int, lanes: Mapping[str, int]) -> bool:
    """Whether it stands for its lane: the first trained version is a challenger first, a yardstick later."""
    return version in lanes.values()


def _pair(one: str, two: str) -> tuple[str, str]:
    return (one, two) if one < two else (two, one)


def _watched(
    spreads: Mapping[tuple[str, str], Spread], versions: Mapping[str, int], block: Block
) -> tuple[Paired, ...]:
    """The spreads with this block in them, of those that are there; the others are forgotten."""
    paired = []
    for one, two in combinations(sorted(versions), 2):
        spread = spreads.get((one, two), Spread())
        rows, total = block.apart(versions[one], versions[two])
        paired.append(Paired(first=one, second=two, spread=spread.add(total / rows) if rows else spread))
    return tuple(paired)


def _begun(start: int, spread: Spread | None, policy: Compare) -> Contest:
    return Contest(since=start, spread=spread or Spread(), ewma=Ewma(half_life=policy.half_life))


def _updated(contest: Contest, rows: int, total: float, policy: Compare, *, turned: bool) -> Contest:
    """The contest with one more block; `turned` where better means by more than the margin."""
    difference = total / rows
    better, worse, spread = contest.better, contest.worse, contest.spread
    if better is None and (bound := spread.bound) is not None:
        worse = EProcess.start("worse", bound=bound, margin=policy.margin)
        better = worse if turned else EProcess.start("not_worse", bound=bound, margin=0.0)
    if better is None or worse is None:
        spread = spread.add(difference)
    else:
        better = better.update(-difference if turned else difference)
        worse = worse.update(difference)
    return replace(
        contest,
        spread=spread,
        better=better,
        worse=worse,
        ewma=contest.ewma.update(total, rows=rows),
        blocks=contest.blocks + 1,
        rows=contest.rows + rows,
        sum=contest.sum + total,
    )


def _evidence(process: EProcess | None) -> float:
    """The logarithm of the e-value; where clipping has made the claim void, there is none for it."""
    if process is None:
        return 0.0
    return process.log_e if process.conclusive else 0.0


def _finding(
    kind: str, contest: Contest, version: int, champion: int, *, calendar: Calendar, cause: Source
) -> Finding:
    better, worse = contest.better, contest.worse
    return Finding(
        kind=kind,
        about=f"{version}/{champion}",
        fields={
            "version": version,
            "lane": calendar.lives[version].lane,
            "against": champion,
            "against_lane": calendar.lives[champion].lane,
            "since": contest.since,
            "blocks": contest.blocks,
            "rows": contest.rows,
            "mean": contest.sum / contest.rows,
            "ewma": contest.ewma.mean,
            "bound": better.bound if better else 0.0,
            "clipped": (better.clipped if better else 0) + (worse.clipped if worse else 0),
            "better": _evidence(better),
            "worse": _evidence(worse),
        },
        cause=cause,
    )

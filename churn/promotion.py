"""Which version may be put into service, and the way back."""

import logging

from churn import history
from churn.errors import ContractError, NoChampion, Refused, RefusedModel
from churn.kinds import Loaded
from churn.registry import Registry, Version
from churn.versions import CONTRACT_ACCEPTED

log = logging.getLogger(__name__)


def promote(
    registry: Registry[Loaded],
    number: str,
    *,
    by: str,
    reason: str = "",
    despite_gate: str = "",
    accept_contract: bool = False,
) -> Version:
    """Put a version into service. The one that is there already stays, and nothing changes.

    A version that has been in service before needs no new verdict.

    Args:
        by: who or what asks for it; goes into the history.
        reason: why, in words; goes into the history.
        despite_gate: the reason to overrule the verdict, or its absence; goes into the history.
        accept_contract: whether the rows that callers send may change with it.

    Raises:
        UnknownVersion: there is no version of that number.
        RefusedModel: it does not load as serving would load it.
        Refused: its verdict, or the contract it was trained under, speaks against it.
    """
    version = registry.version(number)
    if (champion := _champion(registry)) and champion.version == version.version:
        if accept_contract and not version.contract_accepted:
            # the alias was moved by hand, and the API refuses what it names until this is said
            return registry.tag(version, CONTRACT_ACCEPTED)
        log.info("%s version %s is in service already: nothing has changed", version.name, version.version)
        return version
    contract = registry.load(version).contract
    champion = _champion(registry)  # loading takes a while, in which another may have been promoted
    change = _contract_change(registry, contract.row_hash, champion)
    doubt = _doubt(registry, version, champion, bool(change) and accept_contract)
    overruled = despite_gate.strip()
    if doubt and not overruled:
        raise Refused(f"{_named(version)} stays out of service: {doubt}; --despite-gate REASON overrules this")
    if change and not accept_contract:
        raise Refused(f"{_named(version)} stays out of service: {change}; --accept-contract overrules this")
    return registry.move(
        version,
        by=by,
        how=history.PROMOTE,
        reason="; ".join(
            filter(None, [f"despite the gate ({doubt}): {overruled}" if doubt else overruled, reason.strip()])
        ),
        tags=CONTRACT_ACCEPTED if change else {},
    )


def rollback(registry: Registry[Loaded], *, by: str, reason: str = "") -> Version:
    """Put the version back into service that the present one has replaced.

    Raises:
        NoChampion: nothing is in service.
        Refused: nothing came before it.
        UnknownVersion, RefusedModel: what came before has been deleted, or does not load any more.
    """
    champion = registry.champion()
    number = registry.undone()
    if number is None:
        raise Refused(f"nothing was in service before {_named(champion)}, so there is nothing to go back to")
    version = registry.version(number)
    registry.load(version)
    return registry.move(version, by=by, how=history.ROLLBACK, reason=reason)


def _champion(registry: Registry[Loaded]) -> Version | None:
    try:
        return registry.champion()
    except NoChampion:
        return None


def _named(version: Version) -> str:
    return f"{version.name} version {version.version}"


def _doubt(registry: Registry[Loaded], version: Version, champion: Version | None, accepted: bool) -> str:
    """What the gate's verdict leaves open; empty where nothing is.

    Args:
        accepted: whether other rows have been asked for, which no champion can be held against.
    """
    if version.version in {term.version for term in registry.history()}:
        return ""
    if version.refused:
        return f"the gate has refused it: {version.refused}"
    if version.tags.get("gate") != "passed" and (champion or registry.kind.first_needs_gate):
        return "the gate has not judged it"
    if champion is None:
        return ""
    against = version.tags.get("gate_against", "")
    if against != champion.version and not (accepted and not against):
        rival = f"version {against}" if against else "no champion"
        note = f" ({version.tags['gate_note']})" if version.tags.get("gate_note") else ""
        return f"the gate has judged it against {rival}{note}, and version {champion.version} is in service"
    return ""


def _contract_change(registry: Registry[Loaded], rows: str, champion: Version | None) -> str:
    """What a caller would have to change; empty where nothing is.

    Args:
        rows: the hash of the rows that the new version takes.
    """
    if champion is None:
        return ""
    try:
        same = registry.contract(champion).row_hash == rows
    except (RefusedModel, ContractError) as error:
        return f"the contract of version {champion.version}, in service, cannot be read ({error})"
    return "" if same else f"its contract asks for other rows than that of version {champion.version}, in service"

"""The registered versions: what each says of itself, which one is in service, its artefacts."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from mlflow.exceptions import MlflowException

from churn import contract as contracts
from churn import history
from churn.errors import ChurnError, NoChampion, RefusedModel, Unavailable, UnknownVersion
from churn.history import Change, Term
from churn.kinds import DEFAULT, Kind, Model
from churn.mlflow_client import absent
from churn.peek import CHAMPION, CLASSIFIER
from churn.scoring import CONTRACT_FILE
from churn.settings import Settings
from churn.tracking import Tracking, run_id
from churn.versions import Version, describe

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion
    from mlflow.entities.model_registry import RegisteredModel

CHALLENGER = "challenger"
FINGERPRINT = "fingerprint"
_PROMOTED = "promoted_at"
"""The tag that stood for a promotion before changes were kept."""

__all__ = ["CHALLENGER", "CHAMPION", "CLASSIFIER", "FINGERPRINT", "Registry", "Term", "Version"]


class Registry(Tracking, Generic[Model]):
    """The versions of one kind of model, the aliases that name two of them, and their history.

    Args:
        patient: as :class:`churn.mlflow_client.Connection` takes it.
        kind: left out, the classifier.
    """

    def __init__(self, settings: Settings, *, patient: bool = True, kind: Kind[Model] = DEFAULT) -> None:
        super().__init__(settings, patient=patient)
        self.kind = kind
        self.name = kind.name

    def champion(self) -> Version:
        """The version in service.

        Raises:
            NoChampion: nothing has been promoted yet.
            Unavailable: the registry does not answer.
        """
        with self.asked("find the champion"):
            aliases, past = self._state()
            if not past or past[-1].version == history.NOTHING:
                raise NoChampion(f"no version of {self.name} is in service yet: {self._why_none(aliases, past)}")
            return self._described([self.client.get_model_version(self.name, past[-1].version)], past)[0]

    def _why_none(self, aliases: Mapping[str, str], past: Sequence[Change]) -> str:
        number = aliases.get(CHALLENGER)
        found = [self.client.get_model_version(self.name, number)] if number else []
        refused = [one.refused for one in self._described(found, past) if one.refused]
        return f"the gate has refused version {number}: {refused[0]}" if refused else "train one first"

    def challenger(self) -> Version | None:
        """The version that was registered last and has not been in service, if there is one."""
        with self.asked("find the challenger"):
            aliases, past = self._state()
            number = aliases.get(CHALLENGER)
            if number is None or number == aliases.get(CHAMPION):
                return None
            return self._described([self.client.get_model_version(self.name, number)], past)[0]

    def version(self, number: str) -> Version:
        """One version.

        Raises:
            UnknownVersion: there is none of that number.
        """
        unknown = UnknownVersion(
            f"{self.name} has no version {str(number)[:50]!r}; `churn history --model {self.name}` lists those it has"
        )
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise unknown
        with self.asked("find a version"):
            _, past = self._state()
            try:
                found = self.client.get_model_version(self.name, number)
            except MlflowException as error:
                if absent(error):
                    raise unknown from error
                raise
            return self._described([found], past)[0]

    def versions(self) -> list[Version]:
        """Every version, newest first."""
        with self.asked("list the versions"):
            _, past = self._state()
            return self._described(self._search(f"name='{self.name}'"), past)

    def trained_on(self, fingerprint: str, champion: Version | None) -> bool:
        """Whether a version with this fingerprint has met the gate, and come after the champion where there is one."""
        with self.asked("look for a training"):
            found = self._search(f"name='{self.name}' and tags.{FINGERPRINT}='{fingerprint}'") if fingerprint else []
            judged = [one for one in found if one.tags.get("gate") in ("passed", "refused")]
            return any(champion is None or int(one.version) > int(champion.version) for one in judged)

    def register(self, run_uri: str, tags: Mapping[str, str] = {}) -> Version:
        """Register a run's model as the challenger. A run is registered once, however often this is called."""
        run = run_id(run_uri)
        with self.asked("register a version"), self.as_default():
            known = self._search(f"name='{self.name}' and run_id='{run}'")
            number = str(known[0].version) if known else self._create(run, tags)
            if known:
                self._tag(number, tags)
            _, past = self._state()
            if number not in {change.version for change in past}:
                self.client.set_registered_model_alias(self.name, CHALLENGER, number)
            return self.version(number)

    def judged(self, version: Version, tags: Mapping[str, str]) -> Version:
        """Record the verdict on a version: ``gate`` ("passed" or "refused"), ``gate_reason``,
        ``gate_against`` (the champion's number, or "" where there was none) and its figures;
        ``gate_at`` is added."""
        told = {"gate_at": datetime.now(UTC).isoformat(timespec="seconds"), **tags}
        verdict = told.pop("gate")
        with self.asked("record a verdict"):
            # the word comes last, so that no verdict stands without its reasons or with another's
            self._tag(version.version, {"gate": "pending", **told})
            self._tag(version.version, {"gate": verdict})
        return self.version(version.version)

    def tag(self, version: Version, tags: Mapping[str, str]) -> Version:
        """Put tags on a version."""
        with self.asked("tag a version"):
            self._tag(version.version, tags)
        return self.version(version.version)

    def move(self, version: Version, *, by: str, how: str, reason: str = "", tags: Mapping[str, str] = {}) -> Version:
        """Put a version into service, and write down who did so; what is in service already stays as it is.

        Args:
            how: :data:`churn.history.PROMOTE` or :data:`churn.history.ROLLBACK`.
            tags: are put on the version first.
        """
        number = version.version
        with self.asked("change the version in service"):
            aliases, _ = self._state()
            if aliases.get(CHAMPION) != number:
                self._tag(number, tags)
                before = aliases.get(CHAMPION, history.NOTHING)
                change = history.begin(number, before=before, by=by, how=how, reason=reason)
                self._keep(change)
                self.client.set_registered_model_alias(self.name, CHAMPION, number)
                moved = datetime.now(UTC)
                # of two at once only the later one finds its own version: the other came before it
                alone = _aliases(self.client.get_registered_model(self.name)).get(CHAMPION) == number
                self._keep(replace(change, done=moved if alone else change.begun))
            if aliases.get(CHALLENGER) == number:
                self.client.delete_registered_model_alias(self.name, CHALLENGER)
        return self.version(number)

    def history(self) -> list[Term]:
        """Which version was in service from when to when, newest first."""
        with self.asked("read the history"):
            return history.terms(self._state()[1])

    def undone(self) -> str | None:
        """The version that a rollback goes back to; None where nothing came before."""
        with self.asked("read the history"):
            return history.undone(self._state()[1])

    def download(self, version: Version, folder: Path) -> Path:
        """Fetch a version's artefacts into a folder, which appears whole or not at all. A version
        never changes: one that is there already is not fetched again.

        Raises:
            RefusedModel: an artefact is missing, or the folder cannot be written.
            Unavailable: the registry does not answer.
        """
        from mlflow.artifacts import download_artifacts

        if folder.exists():
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".churn-model-", dir=folder.parent) as scratch:
                whole = Path(scratch) / folder.name
                whole.mkdir()
                with self.asked("download a version"):
                    uri = self.client.get_model_version_download_uri(version.name, version.version)
                    download_artifacts(artifact_uri=uri, dst_path=str(whole), tracking_uri=self.uri)
                whole.rename(folder)
        except OSError as error:
            if not folder.exists():  # else another process was first
                raise _download_error(error)(f"{version.name} version {version.version}: {error}") from error
        return folder

    def load(self, version: Version) -> Model:
        """Download a version and read it without unpickling anything.

        Raises:
            RefusedModel: it lacks a part, or holds what is not trusted.
        """
        with self._fetched(version) as folder:
            return self.kind.load(folder, version.model)

    def contract(self, version: Version) -> contracts.Contract:
        """The contract that a version was trained under.

        Raises:
            RefusedModel, ContractError: it lacks it, or it cannot be read.
        """
        with self._fetched(version) as folder:
            found = next(folder.rglob(CONTRACT_FILE), None)
            if found is None:
                raise RefusedModel(f"{version.name} version {version.version}: {CONTRACT_FILE} is missing")
            return contracts.load(found)

    @contextmanager
    def _fetched(self, version: Version) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="churn-") as scratch:
            yield self.download(version, Path(scratch) / "model")

    def _state(self) -> tuple[dict[str, str], list[Change]]:
        """The aliases, and the changes that led to them. A version that is in service by no change of
        ours is written down on sight: MLflow does not keep when an alias was moved."""
        aliases, past, seen = self._look()
        if seen:  # MLflow reads aliases and tags one after the other: between them, a change may have been made
            again = self._look()
            if again[2] and again[2].version == seen.version:
                self._keep(again[2])
            aliases, past, _ = again
        return aliases, past

    def _look(self) -> tuple[dict[str, str], list[Change], Change | None]:
        """The aliases, the changes that led to them, and of these the one that is not kept yet."""
        try:
            model = self.client.get_registered_model(self.name)
        except MlflowException as error:
            if absent(error):
                return {}, [], None
            raise
        aliases, kept = _aliases(model), history.read(model.tags)
        live = aliases.get(CHAMPION, history.NOTHING)
        promoted = self.client.get_model_version(self.name, live).tags.get(_PROMOTED) if live and not kept else None
        past = history.reconciled(kept, live, promoted)
        keys = {change.key for change in kept}
        return aliases, past, next((change for change in past[-1:] if change.key not in keys), None)

    def _keep(self, change: Change) -> None:
        self.client.set_registered_model_tag(self.name, change.key, change.dump())

    def _tag(self, number: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self.client.set_model_version_tag(self.name, number, name, value)

    def _create(self, run: str, tags: Mapping[str, str]) -> str:
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = self.client.get_run(run).outputs.model_outputs[0].model_id
        made = self.client.create_model_version(
            self.name, source=f"models:/{model_id}", run_id=run, tags=dict(tags), model_id=model_id
        )
        return str(made.version)

    def _search(self, query: str) -> "list[RegisteredVersion]":
        """Registered versions, newest first."""
        newest_first = ["version_number DESC"]
        page = self.client.search_model_versions(query, order_by=newest_first)
        found = list(page)
        while page.token:
            page = self.client.search_model_versions(query, order_by=newest_first, page_token=page.token)
            found += page
        return found

    def _described(self, found: "Sequence[RegisteredVersion]", past: Sequence[Change]) -> list[Version]:
        return describe(self.client, found, {change.version: change.at for change in past})


def _aliases(model: "RegisteredModel") -> dict[str, str]:
    return {alias: str(number) for alias, number in model.aliases.items()}


def _download_error(error: OSError) -> type[ChurnError]:
    """A server that is ill tells nothing of the version."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedModel

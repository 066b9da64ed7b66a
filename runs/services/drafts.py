"""Drafts of submit forms, and which snapshots a person may submit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from runs.errors import InvalidInput, NotFound
from runs.folding import clean
from runs.models import Draft, Run, Snapshot
from runs.services.unused_snapshots import keep
from studio.accounts.models import Membership

MOST_DRAFTS = 100
DRAFT_MAX_CHARACTERS = 2_000_000
_REMEMBERED = 200
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
#: Where a form names the snapshot of a step.
_DIGEST_FIELD = re.compile(r"steps-\d{1,4}-digest\Z")
_SESSION_KEY = "snapshots"

#: The fields of a form as lists of texts.
Content = Mapping[str, list[str]]


def _drafts_of(membership: Membership) -> QuerySet[Draft]:
    return Draft.objects.filter(workspace_id=membership.workspace_id, owner_id=membership.user_id)


def own_drafts(membership: Membership) -> list[Draft]:
    """A person's drafts in this workspace, the newest first, without their content."""
    return list(_drafts_of(membership).defer("content").order_by("-updated_at", "-id")[:MOST_DRAFTS])


def find_draft(membership: Membership, pk: int) -> Draft:
    """One of the person's own drafts in this workspace. Raises NotFound."""
    found = _drafts_of(membership).filter(pk=pk).first()
    if found is None:
        raise NotFound(
            "This draft is not there any more.", hint="Drafts belong to the person who saved them."
        )
    return found


def save_draft(membership: Membership, *, name: str, content: Content, pk: int | None = None) -> Draft:
    """Keep a form; a draft of this number that is still there is overwritten. Raises InvalidInput."""
    kept = {field: [text.replace("\0", "") for text in texts] for field, texts in content.items()}
    if sum(len(text) for texts in kept.values() for text in texts) > DRAFT_MAX_CHARACTERS:
        raise InvalidInput("This form is too large for a draft.", hint="Upload long scripts as files.")
    shown = clean(name).strip()[:256] or "Untitled draft"
    drafts = _drafts_of(membership)
    if pk is not None and drafts.filter(pk=pk).update(name=shown, content=kept, updated_at=Now()):
        return drafts.get(pk=pk)
    if drafts.count() >= MOST_DRAFTS:
        raise InvalidInput(f"You have {MOST_DRAFTS} drafts.", hint="Delete some before you save another.")
    return Draft.objects.create(
        workspace_id=membership.workspace_id, owner_id=membership.user_id, name=shown, content=kept
    )


def delete_draft(membership: Membership, pk: int) -> str:
    """Remove one's own draft; its name. Raises NotFound."""
    draft = find_draft(membership, pk)
    draft.delete()
    return draft.name


class OwnSnapshots:
    """The snapshots that a person may submit in a workspace; a digest alone gives nobody a snapshot.

    They are those the person uploaded (remembered in `session` when somebody else had uploaded the same
    before), those a run of the workspace uses, and those one of the person's drafts names.
    """

    def __init__(self, membership: Membership, session: MutableMapping[str, Any]) -> None:
        self.membership = membership
        self.session = session

    def remember(self, snapshot: Snapshot) -> Snapshot:
        """From now on the person may submit this one, which they just uploaded."""
        if snapshot.created_by_id != self.membership.user_id:
            before = [digest for digest in self.session.get(_SESSION_KEY, []) if digest != snapshot.digest]
            self.session[_SESSION_KEY] = [*before, snapshot.digest][-_REMEMBERED:]
        return snapshot

    def find(self, digests: Iterable[str]) -> dict[str, Snapshot]:
        """Those of these digests that the person may submit, by digest; they stay for a day at least.

        At most three queries, and a write for each once an hour.
        """
        wanted = {digest for digest in digests if _DIGEST.match(digest)}
        if not wanted:
            return {}
        found = {snapshot.digest: snapshot for snapshot in Snapshot.objects.filter(digest__in=wanted)}
        known = set(self.session.get(_SESSION_KEY, []))
        unknown = {
            digest
            for digest, snapshot in found.items()
            if digest not in known and snapshot.created_by_id != self.membership.user_id
        }
        if unknown:
            unknown -= self._used_by_runs(unknown)
        if unknown:
            unknown -= self._named_by_drafts()
        may = {digest: snapshot for digest, snapshot in found.items() if digest not in unknown}
        return {digest: snapshot for digest, snapshot in may.items() if keep(snapshot)}

    def _used_by_runs(self, digests: set[str]) -> set[str]:
        runs = Run.objects.filter(workspace_id=self.membership.workspace_id, snapshot__digest__in=digests)
        return set(runs.order_by().values_list("snapshot__digest", flat=True).distinct())

    def _named_by_drafts(self) -> set[str]:
        contents = _drafts_of(self.membership).values_list("content", flat=True)
        return {
            text for content in contents for field, texts in content.items() if _DIGEST_FIELD.match(field)
            for text in texts[-1:]  # the one that a form reads
        }  # fmt: skip

"""The questions that a guard LLM is asked about requests and about drafts under one policy."""

import hashlib
from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct

from serving.guard_llm.answers import DraftAnswer, GroupDraftAnswer, GroupRequestAnswer, MannerAnswer, RequestAnswer
from serving.guard_llm.asking import Prompts
from serving.guard_llm.prompts import (
    Question,
    draft_question,
    group_draft_questions,
    group_request_questions,
    manner_questions,
    request_question,
)
from topology.contract.labels import CategoryId
from topology.policy.bundle import PolicyBundle

UNFAIR = "unfair"
"""The fault of manner that is not a soft rule: it has its own row in the verdict table."""

OverAll = TypeVar("OverAll", RequestAnswer, DraftAnswer)
OfGroup = TypeVar("OfGroup", GroupRequestAnswer, GroupDraftAnswer)


class Questions(Struct, Generic[OverAll, OfGroup], frozen=True, kw_only=True):
    """The question over all categories, and the groups' questions by the category that makes them matter.

    `manner` is asked of every draft. `prompt_hash` stands for all questions: SHA-256, hex.
    """

    over_all: Question[OverAll]
    group_of: dict[CategoryId, Question[OfGroup]]
    manner: tuple[Question[MannerAnswer], ...] = ()
    prompt_hash: str

    def groups_for(self, categories: Iterable[CategoryId], groups_max: int) -> list[Question[OfGroup]]:
        """Return these categories' group questions, each once, in order of first mention, at most `groups_max`."""
        by_name = {self.group_of[name].name: self.group_of[name] for name in categories if name in self.group_of}
        return list(by_name.values())[:groups_max]


def request_questions(bundle: PolicyBundle, prompts: Prompts) -> Questions[RequestAnswer, GroupRequestAnswer]:
    """Build the questions about requests under a policy."""
    over_all = request_question(bundle.categories)
    groups = group_request_questions(bundle) if prompts == "groups" else {}
    return Questions(
        over_all=over_all,
        group_of=_by_category(bundle, groups),
        prompt_hash=_together(over_all.prompt_hash, (each.prompt_hash for each in groups.values())),
    )


def draft_questions(bundle: PolicyBundle, prompts: Prompts) -> Questions[DraftAnswer, GroupDraftAnswer]:
    """Build the questions about drafts under a policy."""
    over_all = draft_question(bundle.categories)
    groups = group_draft_questions(bundle) if prompts == "groups" else {}
    manner = tuple(manner_questions(bundle).values()) if prompts == "groups" else ()
    hashes = [each.prompt_hash for each in groups.values()] + [each.prompt_hash for each in manner]
    return Questions(
        over_all=over_all,
        group_of=_by_category(bundle, groups),
        manner=manner,
        prompt_hash=_together(over_all.prompt_hash, hashes),
    )


def _by_category(bundle: PolicyBundle, groups: dict[str, Question[OfGroup]]) -> dict[CategoryId, Question[OfGroup]]:
    return {
        name: groups[key] for key, group in bundle.guard_groups.items() if key in groups for name in group.categories
    }


def _together(first: str, others: Iterable[str]) -> str:
    """Return the hash of one question, or a hash over all hashes if there are several."""
    hashes = [first, *others]
    return first if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

"""`sluicegate policy show`: print a policy as tables, also under a tenant's overlay.

Ceilings are written benign/dual use/malicious.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.text import Text

from topology.contract.labels import CategoryId, Level
from workers.commands.console.tables import Cell, say_table
from workers.commands.console.terminal import Terminal, printable
from workers.commands.console.usage_error import WrongUse
from workers.commands.policy.files import bundle_of, overlay_of
from workers.commands.policy.showing import CategoryShown, Row, Shown, shown
from workers.settings import Settings

CHANGED = "bold yellow"
WORDS_CHARACTERS_MAX = 100


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the policy in a file, or the one in force. Raises WrongUse."""
    bundle = bundle_of(settings, "FILE", arguments.file)
    names = tuple(CategoryId(name) for name in arguments.category or ())
    for name in names:
        if name not in bundle.categories:
            raise WrongUse("--category", name, f"unknown; {bundle.ref} has {', '.join(bundle.categories)}")
    overlay = None if arguments.tenant is None else overlay_of(settings, "--tenant", arguments.tenant, bundle)
    found = shown(bundle, names, overlay)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        say_shown(Terminal(), found)
    return 0


def say_shown(terminal: Terminal, found: Shown) -> None:
    """Print the policy's name, then one category in full or a row for each."""
    overlay = f", overlay {found.overlay_ref}" if found.overlay_ref else ""
    terminal.say(f"{found.policy_ref}{overlay}", "bold")
    languages = ", ".join(found.languages)
    terminal.say(f"follows {found.follows}; unknown age counts as {found.age_default}; languages: {languages}", "dim")
    if len(found.categories) == 1:
        for line in _in_full(found.categories[0]):
            terminal.say(line)
        return
    headings = ("category", "class", "authority", "family", "adult", "teen cap", "special")
    of_tenant = ("tenant: adult", "tenant: unknown age") if found.overlay_ref else ()
    rows = [_row(each) for each in found.categories]
    say_table(terminal, (*headings[:5], *of_tenant, *headings[5:]), rows, title=f"categories: {len(found.categories)}")


def _row(category: CategoryShown) -> Sequence[Cell]:
    tenant = [
        _ceilings(ceilings, category.ceilings)
        for ceilings in (category.tenant_ceilings, category.tenant_unknown_ceilings)
        if ceilings is not None
    ]
    return (
        category.name,
        category.content_class,
        category.authority,
        category.family,
        _ceilings(category.ceilings, category.ceilings),
        *tenant,
        "." if category.teen_cap is None else f"D{category.teen_cap}",
        Text(printable("; ".join(category.special), WORDS_CHARACTERS_MAX), style="dim"),
    )


def _in_full(category: CategoryShown) -> Iterator[Text]:
    yield Text()
    yield Text(category.name, style="bold")
    yield Text(f"  {category.content_class} class, {category.authority} level, {category.family}; {category.anchor}")
    of_tenant = {
        "tenant: verified adult": category.tenant_ceilings,
        "tenant: unknown age": category.tenant_unknown_ceilings,
    }
    for who, ceilings in {"verified adult": category.ceilings, "teen": category.teen_ceilings, **of_tenant}.items():
        if ceilings is not None:
            yield Text(f"  {who:<24}").append_text(_ceilings(ceilings, category.ceilings))
    for words in category.special:
        yield Text(f"  {printable(words, WORDS_CHARACTERS_MAX)}")
    for name, words in category.offers.items():
        yield Text(f"  offers {name}: ").append(printable(words, WORDS_CHARACTERS_MAX), style="dim")


def _ceilings(ceilings: Mapping[Level, Row], usual: Mapping[Level, Row]) -> Text:
    """Return `H2 3/2/0 H3 2/1/0`, with the rows that differ from `usual` in colour."""
    line = Text()
    for harm, row in ceilings.items():
        style = "" if row == usual.get(harm) else CHANGED
        line.append(f"H{harm} ", style="dim").append("/".join(map(str, row)), style=style).append("  ")
    line.rstrip()
    return line

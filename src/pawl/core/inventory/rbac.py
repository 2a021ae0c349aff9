"""Which service account may do what, by RBAC's own rules.

As the authorizer of the API server has it (kubernetes/kubernetes plugin/pkg/auth/authorizer/rbac):
a RoleBinding gives its role's rules in its own namespace, also when the role is a ClusterRole; a
subject ServiceAccount without a namespace is of the binding's; a service account is also the user
`system:serviceaccount:NS:NAME` and a member of the groups `system:serviceaccounts`,
`system:serviceaccounts:NS` and `system:authenticated`. What the API server itself binds to all
(discovery, its own version) says nothing about a workload and is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pawl.core.inventory.facts import Binding, InventoryFacts, Role, Rule

PREFIX = "system:serviceaccount:"
EVERYONE = "system:serviceaccounts"
EVERYONE_AUTHENTICATED = "system:authenticated"
Account = tuple[str, str]
"""(namespace, name) of a service account."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and where it holds: `namespace` "" is the whole cluster. `through` names the binding,
    `shared` that it came by a group that more than this service account is in."""

    namespace: str
    rule: Rule
    through: str
    shared: bool = False


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """`of` maps a service account to its own grants; `everyone` holds what all of them have beyond
    the defaults, `per_namespace` what all of one namespace have. `dangling` are bindings to a role
    that does not exist: they give nothing now, and something once it appears."""

    of: dict[Account, tuple[Grant, ...]]
    everyone: tuple[Grant, ...]
    per_namespace: dict[str, tuple[Grant, ...]]
    dangling: tuple[str, ...]

    def grants(self, account: Account) -> tuple[Grant, ...]:
        own = self.of.get(account, ())
        return (*own, *self.per_namespace.get(account[0], ()), *self.everyone)


def resolve(facts: InventoryFacts) -> Access:
    roles = {(r.namespace, r.name): r for r in facts.roles}
    of: dict[Account, list[Grant]] = defaultdict(list)
    per_namespace: dict[str, list[Grant]] = defaultdict(list)
    everyone: list[Grant] = []
    dangling: list[str] = []
    for binding in facts.bindings:
        if binding.default:
            continue
        rules = _rules(binding, roles)
        through = _ref(binding)
        if rules is None:
            dangling.append(f"{through} names {binding.role_kind} {binding.role}, which is not")
            continue
        for subject in binding.subjects:
            match subject.kind:
                case "ServiceAccount":
                    space = subject.namespace or binding.namespace
                    of[space, subject.name] += _grants(binding, rules, through)
                case "User" if subject.name.startswith(PREFIX):
                    space, _, name = subject.name.removeprefix(PREFIX).partition(":")
                    of[space, name] += _grants(binding, rules, through)
                case "Group" if subject.name in (EVERYONE, EVERYONE_AUTHENTICATED):
                    everyone += _grants(binding, rules, through, shared=True)
                case "Group" if subject.name.startswith(f"{EVERYONE}:"):
                    space = subject.name.removeprefix(f"{EVERYONE}:")
                    per_namespace[space] += _grants(binding, rules, through, shared=True)
    return Access(
        of={account: tuple(grants) for account, grants in of.items()},
        everyone=tuple(everyone),
        per_namespace={space: tuple(grants) for space, grants in per_namespace.items()},
        dangling=tuple(sorted(dangling)),
    )


def _grants(
    binding: Binding, rules: Iterable[Rule], through: str, *, shared: bool = False
) -> list[Grant]:
    return [
        Grant(namespace=binding.namespace, rule=rule, through=through, shared=shared)
        for rule in rules
    ]


def _ref(binding: Binding) -> str:
    if binding.namespace:
        return f"RoleBinding {binding.namespace}/{binding.name}"
    return f"ClusterRoleBinding {binding.name}"


def _rules(binding: Binding, roles: dict[tuple[str, str], Role]) -> tuple[Rule, ...] | None:
    """The rules of the role that is bound, None when there is no such role."""
    space = binding.namespace if binding.role_kind == "Role" else ""
    role = roles.get((space, binding.role))
    if role is None:
        return None
    rules = dict.fromkeys(role.rules)
    for wanted in role.aggregates:
        for other in roles.values():
            if not other.namespace and wanted.items() <= other.labels.items():
                rules.update(dict.fromkeys(other.rules))
    return tuple(rules)


def words(grants: Iterable[Grant], most: int = 4) -> str:
    """The grants in a few words: "get, list pods; all secrets in web (+3 more)"."""
    own = list(dict.fromkeys(grants))
    if any(_all(g.rule) and not g.namespace for g in own):
        return "everything (cluster-admin)"
    said = dict.fromkeys(_words(g) for g in own)
    shown = list(said)[:most]
    more = len(said) - len(shown)
    return "; ".join(shown) + (f" (+{more} more)" if more else "")


def _all(rule: Rule) -> bool:
    return "*" in rule.verbs and "*" in rule.groups and "*" in rule.resources


def _words(grant: Grant) -> str:
    rule = grant.rule
    verbs = "all" if "*" in rule.verbs else ", ".join(rule.verbs)
    if rule.urls:
        return f"{verbs} {', '.join(rule.urls)}"
    of = [g for g in rule.groups if g]
    resources = "all resources" if "*" in rule.resources else ", ".join(rule.resources)
    where = f" of {', '.join(of)}" if of and "*" not in of else ""
    names = f" named {', '.join(rule.names)}" if rule.names else ""
    space = f" in {grant.namespace}" if grant.namespace else ""
    return f"{verbs} {resources}{where}{names}{space}"

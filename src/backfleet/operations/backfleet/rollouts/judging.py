"""What a rollout's starter, or its author, may do: asked whenever orders leave, target by target as for a call.

Each client is judged under its own ARN and that of its instance, with the tags of its instance:
docs/decisions/0033-who-may-touch-which-client.md.
"""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from backfleet import identity
from backfleet.identity import Caller
from backfleet.identity.policy import Decision, Permissions, Target
from backfleet.operations.access_denied import reason
from backfleet.operations.authorisation import contexts_of
from backfleet.storage import Transaction

UPGRADE: Final = "hbr:UpgradeBackupClients"
INSTALL: Final = "hbr:InstallBackupClients"
SETTINGS: Final = "hbr:UpdateClientSettings"
START: Final = "backfleet:StartRollout"
AT_ONCE: Final = 500  # clients whose tags are read by one query


class Judge:
    """What one caller may do now. The policies are read once, when it is made."""

    def __init__(self, tx: Transaction, caller: Caller, region: str, now: datetime, action: str = UPGRADE) -> None:
        """Read the caller's policies.

        Args:
            tx: the transaction to read in, now and when it is asked.
            caller: the starter, or the author.
            region: of the rollout.
            now: the time.
            action: what moving a client is.
        """
        self._tx, self._caller, self._action = tx, caller, action
        self._permissions: Permissions = identity.permissions_of(tx, caller)
        self._clients = f"acs:hbr:{region}:{caller.account_id}:client/"
        self._instances = f"acs:ecs:{region}:{caller.account_id}:instance/"
        self._rollouts = f"acs:backfleet:{region}:{caller.account_id}:rollout/"
        self._context = {
            "acs:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "acs:PrincipalARN": caller.principal_arn,
            "acs:SecureTransport": "true",
        }
        if caller.user_name is not None:
            self._context["acs:UserName"] = caller.user_name

    def starting(self, rollout_id: str) -> str:
        """Return why the caller may not move anything by this rollout; "" if they may.

        Nobody is left who may where the caller was deleted: then no statement allows anything.
        """
        rollout = f"{self._rollouts}{rollout_id}"
        decision = self._permissions.decide(START, rollout, self._context)
        if not decision.allowed:
            return self._why(decision, START, rollout)
        everything = self._target("*", "*")
        refusal = self._permissions.refusal_of_all(self._action, everything, self._context)
        return "" if refusal is None else self._why(refusal, self._action, everything.arns[0])

    def of_settings(self) -> "Judge":
        """Return what the caller may do where clients are given settings."""
        found = copy.copy(self)
        found._action = SETTINGS
        return found

    def of_installs(self) -> "Judge":
        """Return what the caller may do where clients are installed: hosts are judged, and clients only by a Deny."""
        found = copy.copy(self)
        found._action = INSTALL
        return found

    def moving(self, clients: Mapping[str, str]) -> dict[str, str]:
        """Return why the caller may not move some of these clients; those that they may are left out.

        Args:
            clients: the instance of each.
        """
        refused = {}
        permissions = self._permissions.about(self._action)
        pairs = list(clients.items())
        for start in range(0, len(pairs), AT_ONCE):
            some = pairs[start : start + AT_ONCE]
            targets = [self._target(client, instance) for client, instance in some]
            contexts = contexts_of(self._tx, permissions, targets, self._context, self._caller.account_id)
            for (client_id, _), target, context in zip(some, targets, contexts, strict=True):
                decision = permissions.decide(self._action, target, context)
                if not decision.allowed:
                    refused[client_id] = self._why(decision, self._action, target.arns[0])
        return refused

    def _target(self, client: str, instance: str) -> Target:
        arns = self._clients + client, self._instances + instance
        return Target(arns[1:], vetoes=arns[:1]) if self._action == INSTALL else Target(arns)

    def _why(self, decision: Decision, action: str, resource: str) -> str:
        found = reason(decision, self._caller.principal_arn, action, f"{action} on {resource}", names_policies=True)
        return f"{self._caller.arn}: {found}"

"""The carrier `ecs`: instances of Alibaba Cloud, reached through its own Cloud Assistant.

All but the cloud's own API, credentials and error codes serves every cloud: `ssm` adds those of AWS.
Owns ecs_accounts, ecs_imports, ecs_hosts, ecs_batches and ecs_runs. Publishes `ecs` when the cloud is to be asked.

    add_account, accounts_of, find_account, delete_account: cloud accounts, and the credentials for them
    add_import, imports_of, delete_import: which of their instances are imported
    count_accounts: how many there are, by the problem that they have
    find_host, forget_host: what is known of an imported instance
    CALLS: the figure of what clouds were asked
    check: ask the cloud now whether a selection can be read
    Ecs: how orders for instances are written
    Clouds: make clients of cloud accounts, each by what its cloud has for that
    Worker, make_means: bring commands to the cloud, and what became of them back

What needs the cloud's SDK is imported where it runs: a server without cloud accounts does not load it, nor need it.
"""

from backfleet.carriers.ecs.accounts import (
    TOPIC,
    AccountExists,
    AccountInUse,
    AccountNotFound,
    TooMany,
    accounts_of,
    add_account,
    add_import,
    count_accounts,
    delete_account,
    delete_import,
    find_account,
    find_host,
    forget_host,
    imports_of,
)
from backfleet.carriers.ecs.counting import CALLS
from backfleet.carriers.ecs.loading import Clouds, check, make_clouds, make_means
from backfleet.carriers.ecs.model import (
    MOST_AT_ONCE,
    NAME,
    REGION,
    EcsAccount,
    EcsHost,
    EcsImport,
    EcsProblem,
    Selection,
    Source,
)
from backfleet.carriers.ecs.way import Ecs
from backfleet.carriers.ecs.worker import Worker

__all__ = [
    "CALLS",
    "MOST_AT_ONCE",
    "NAME",
    "REGION",
    "TOPIC",
    "AccountExists",
    "AccountInUse",
    "AccountNotFound",
    "Clouds",
    "Ecs",
    "EcsAccount",
    "EcsHost",
    "EcsImport",
    "EcsProblem",
    "Selection",
    "Source",
    "TooMany",
    "Worker",
    "accounts_of",
    "add_account",
    "add_import",
    "check",
    "count_accounts",
    "delete_account",
    "delete_import",
    "find_account",
    "find_host",
    "forget_host",
    "imports_of",
    "make_clouds",
    "make_means",
]

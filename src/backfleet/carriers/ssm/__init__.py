"""The carrier `ssm`: EC2 instances and hybrid hosts of AWS, reached through Systems Manager.

Owns no table: cloud accounts, imports, batches and rounds are those of `ecs`, whatever the cloud. Here is what AWS has
of its own: its API, its credentials, its words.

    make_clouds: make clients of its accounts

What needs the cloud's SDK is imported where it runs: a server without accounts of AWS does not load it, nor need it.
"""

from backfleet.carriers.ssm.loading import make_clouds

__all__ = ["make_clouds"]

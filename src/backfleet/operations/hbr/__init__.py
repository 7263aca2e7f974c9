"""HBR 2017-09-08: the client operations of Alibaba Cloud Backup."""

from backfleet.operations.hbr import account_pairs, deletion, describing, legacy, lifecycle, settings

__all__ = ["account_pairs", "deletion", "describing", "legacy", "lifecycle", "settings"]

"""HBR 2017-09-08: the client operations of Alibaba Cloud Backup."""

from backfleet.operations.hbr import changing, looking, pairing

__all__ = ["changing", "looking", "pairing"]

"""HBR 2017-09-08: the client operations of Alibaba Cloud Backup."""

from backfleet.operations.hbr import changing, forgetting, looking, older, pairing, settings

__all__ = ["changing", "forgetting", "looking", "older", "pairing", "settings"]
